"""Which of the servers of this host is meant."""

from __future__ import annotations

import os

from ..workers.outside import Boot, find, in_use
from ..workers.statedir import Unusable
from .command import FailedError, Options, WrongUse


class SeveralError(WrongUse):
    """Several servers run here; the message lists them."""


class NobodyError(FailedError):
    """No server that was meant runs here; the message says so."""


def choose(options: Options) -> Boot:
    """The server that is meant.

    :raises NobodyError: when none runs here.
    :raises SeveralError: when there are several.
    """
    found = candidates(options)
    if len(found) > 1:
        lines = [
            f"  --pid {boot.master} --app {name_of(boot)}, or --state {boot.directory.path}"
            for boot in found
        ]
        raise SeveralError("\n".join(["several servers run here, choose one:", *sorted(lines)]))
    if not found:
        raise NobodyError(_nobody(options))
    return found[0]


def candidates(options: Options) -> list[Boot]:
    """All servers that may be meant."""
    extra, own = _of_app(options)
    try:
        found = _meant(find(options.state or "", os.environ, extra), options, own)
    except Unusable as why:
        raise WrongUse(f"--state: {why}" if options.state else str(why)) from None
    return found or ([] if options.state else _meant(in_use(), options, own))


def _meant(found: list[Boot], options: Options, own: str) -> list[Boot]:
    """Those of some servers that the options choose.

    :param own: the app that is meant where nothing else is said.
    """
    if options.pid:
        found = [boot for boot in found if boot.master == options.pid]
    if options.app:
        return [boot for boot in found if name_of(boot) == options.app]
    if own and len(found) > 1:
        return [boot for boot in found if name_of(boot) == own] or found
    return found


def name_of(boot: Boot) -> str:
    """The name of a server's app; a question mark where nobody has told."""
    from ..workers.outsidechecks import about

    return str(about(boot).get("app", "?"))


def _of_app(options: Options) -> tuple[list[str], str]:
    """Where the app of `flask health` has its state, and its name."""
    if options.flask_app is None:
        return [], ""
    base = options.flask_app.extensions["health.state"].gate.options.state_dir
    return [base] if base else [], options.flask_app.name


def _nobody(options: Options) -> str:
    meant = [
        f"{name} {value}"
        for name, value in (("--pid", options.pid), ("--app", options.app))
        if value
    ]
    which = f" with {' and '.join(meant)}" if meant else ""
    where = f" in {options.state}" if options.state else " that this user may look at"
    return f"no server{which} has its state{where}"
