"""`fleet`: all servers that share a store."""

from __future__ import annotations

import contextlib
import logging
import sys
import time

from .command import BAD, GOOD, Command, FailedError, Option, Options, WrongUse, seconds
from .shared import CHOICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing as t

    from ..fleet.store import Store
    from .terminal import Terminal

INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""

NOTES = """
Reads the store and asks no server. The URL and the service are those of the environment, of the app
(flask health), or of the server that runs here. At most 200 servers are listed, first those that
are not ready. Where it is not a terminal the table ends after 4 KiB; --json tells all.

exit status: 0 a server is ready, 1 none is, or the store does not answer, 3 wrong use
"""


def run(options: Options) -> int:
    """Shows it, once or again and again."""
    from ..fleet.store import Store, check_url
    from .terminal import Terminal

    url, service = _url(options), _service(options)
    wrong = check_url(url)
    if wrong:
        raise WrongUse(f"--url {wrong}")
    # What goes wrong is told below, in one line: no log has to do it where none is kept.
    logging.getLogger("flask_health").addHandler(logging.NullHandler())
    store, terminal = Store(url), Terminal()
    status = _show(options, store, service, terminal)
    with contextlib.suppress(BrokenPipeError):  # Who watched has seen enough.
        while options.watch is not None:
            time.sleep(options.watch or INTERVAL)
            status = _show(options, store, service, terminal)
    return status


def _show(options: Options, store: Store, service: str, terminal: Terminal) -> int:
    from ..fleet.store import StoreError
    from ..fleet.telling import overlook

    try:
        shown = overlook(store, service)
    except StoreError as error:
        problem = f"the fleet store cannot be asked: {error}"
        if options.watch is None:
            raise FailedError(problem) from None
        if options.json:
            print(problem, file=sys.stderr, flush=True)
        else:
            terminal.write([problem])
        return BAD
    if options.json:
        import json

        print(json.dumps(shown, indent=None if options.watch is not None else 2), flush=True)
    else:
        from .fleetdrawing import report

        lines = report(shown, terminal)
        (terminal.draw if options.watch is not None and terminal.live else terminal.write)(lines)
    return GOOD if shown["servers"]["ready"] else BAD


def _url(options: Options) -> str:
    found = options.url or _configured(options, "fleet_url")
    if not found:
        raise WrongUse("which store? Give --url, or set FLASK_HEALTH_FLEET_URL")
    return str(found)


def _service(options: Options) -> str:
    app = options.flask_app
    found = options.service or _configured(options, "service") or (app.name if app else "")
    if found:
        return str(found)
    from ..workers.outsidechecks import about
    from .choosing import choose

    service = about(choose(options)).get("service")
    if not service:
        raise WrongUse("which service? Give --service, or set FLASK_HEALTH_SERVICE")
    return str(service)


def _configured(options: Options, name: str) -> t.Any:
    if options.flask_app is None:
        return None
    return getattr(options.flask_app.extensions["health.state"].config, name)


COMMAND = Command(
    run,
    "[OPTION ...]",
    "Shows all servers that share a fleet store.",
    [
        Option(
            "--url", "the store, as in HEALTH_FLEET_URL", "URL", environ="FLASK_HEALTH_FLEET_URL"
        ),
        Option("--service", "whose servers", "NAME", environ="FLASK_HEALTH_SERVICE"),
        Option("--json", "for programs"),
        Option("--watch", "show it again and again; default: every 2 s", "[SECONDS]", seconds),
        *CHOICE,
    ],
    notes=NOTES,
)
