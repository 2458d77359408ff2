"""The checks of a server as an outsider reads them: `about.json` says what they are, and
`results/checks.json` what they have come to.
"""

from __future__ import annotations

import json
import time
import typing as t

from ..model import judge as server_judge
from ..model.check import Check, Result, judge
from ..model.report import aggregate
from ..model.status import Status
from .board import Board
from .introducing import TOLD
from .statedir import ABOUT

if t.TYPE_CHECKING:
    from .outside import Boot


def about(boot: Boot) -> dict[str, t.Any]:
    """What a server says of itself; empty when nothing can be read."""
    try:
        content = json.loads(boot.directory.read(ABOUT))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def results(boot: Boot, told: dict[str, t.Any] | None = None) -> list[Result]:
    """The checks that one worker runs for all, or one server of a fleet, as they stand now.

    :param told: what :func:`about` said, where it is known already.
    """
    now = time.monotonic()
    known = Board(boot).read() or {}
    checks = _checks(about(boot) if told is None else told)
    return [
        judge(check, known.get(check.name), now)
        for check in checks
        if check.scope == "server" or check.name in known
    ]


def lives(boot: Boot) -> bool:
    """Whether no check says that the server has to be restarted."""
    found = [result for result in results(boot) if "live" in result.check.probes]
    return aggregate("live", found) is not Status.FAIL


def warning(boot: Boot, found: list[Result]) -> str:
    """What there is to look at in a server that is ready, for people; empty when all is well.

    :param found: its checks.
    """
    said = [f"{r.name}: {r.output}" for r in found if r.counts_as is not Status.PASS]
    if server_judge.status(boot.census, boot.least) is not Status.PASS:
        said.insert(0, server_judge.reason(boot.census, boot.least))
    return "; ".join(said)


def reason(boot: Boot, probe: str) -> str:
    """Which checks fail, for people."""
    counted = ("live",) if probe == "live" else ("live", "ready", "startup")
    failing = [
        f"{result.name}: {result.output}"
        for result in results(boot)
        if result.counts_as is Status.FAIL and set(counted) & set(result.check.probes)
    ]
    return "; ".join(failing) or "the checks do not allow traffic"


def _checks(told: dict[str, t.Any]) -> list[Check]:
    found = []
    checks = told.get("checks")
    for name, members in checks.items() if isinstance(checks, dict) else ():
        try:
            known = {key: members[key] for key in TOLD} | {"probes": tuple(members["probes"])}
            found.append(Check(name, _elsewhere, **known))
        except (KeyError, TypeError):
            continue  # Written by another version of this format.
    return found


def _elsewhere() -> t.NoReturn:
    raise RuntimeError("a check is run by its server alone")
