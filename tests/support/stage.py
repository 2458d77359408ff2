"""A directory through which a test gives orders to a served app and reads its facts."""

from __future__ import annotations

from pathlib import Path


class Stage:
    """Orders are files that exist; facts are lines that the app appends to a file."""

    def __init__(self, root: Path, *orders: str) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o777)
        self.order(*orders)

    def order(self, *names: object) -> None:
        """Give orders, e.g. `order("wait")`; see `apps/acting.py` for the known ones."""
        for name in names:
            (self.root / str(name)).touch()

    def withdraw(self, *names: object) -> None:
        """Take orders back; an order that was never given is no error."""
        for name in names:
            (self.root / str(name)).unlink(missing_ok=True)

    def facts(self, name: str) -> list[str]:
        """Return the complete lines told under `name`, oldest first."""
        try:
            text = (self.root / f"{name}.facts").read_text()
        except FileNotFoundError:
            return []
        return text[: text.rfind("\n") + 1].splitlines()

    def pids(self, name: str) -> list[int]:
        """Return the facts of `name` as process ids."""
        return [int(line) for line in self.facts(name)]
