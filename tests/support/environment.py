"""What a subprocess of a test needs: a place of its own, the package under test, a port."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

APPS = Path(__file__).resolve().parent.parent / "apps"
_NOT_INHERITED = (
    "FLASK_",
    "HEALTH_",
    "GUNICORN_",
    "WERKZEUG_",
    "SERVER_SOFTWARE",
    "WEB_CONCURRENCY",
)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def accepts(port: int) -> bool:
    """Tell whether somebody listens on that port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def says(port: int, question: bytes, beginning: bytes) -> bool:
    """Tell whether what listens on the port answers the question so."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.settimeout(1)
            sock.sendall(question)
            return sock.recv(len(beginning)) == beginning
    except OSError:
        return False


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment for a subprocess that imports the same package as this process.

    It finds the modules of `tests/apps`. Temporary and runtime directories lie below
    `home`; nothing that configures Flask, the extension or gunicorn is inherited.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        path = home / name.lower()
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        env[name] = str(path)
    spec = importlib.util.find_spec("flask_health")
    assert spec, "flask_health cannot be imported"
    assert spec.origin
    root = Path(spec.origin).parent.parent
    checkout = "" if root.name == "site-packages" else str(root)
    paths = [str(APPS), checkout, env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return env | {"PYTHONUNBUFFERED": "1"} | more
