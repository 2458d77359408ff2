"""Probes that answer what a test wants, whatever is true."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import typing as t
from unittest import mock

import flask

from ..extension import STATE
from ..model.report import Report
from ..model.status import Status
from ..workers import survey
from ..workers.verdict import Verdict

if t.TYPE_CHECKING:
    from ..workers.gate import Gate

REASON = "forced by a test"


@contextlib.contextmanager
def forced(
    app: flask.Flask,
    *,
    ready: Status | str | None = None,
    live: Status | str | None = None,
    startup: Status | str | None = None,
) -> cabc.Iterator[None]:
    """Has the probes of an app in this process answer a status for as long as the block lasts:
    their codes, words and reports. What is not given stays true; so do the single checks.

    :param ready: `pass`, `warn` or `fail`; `/health` says the same.
    :param live: of `/health/live`.
    :param startup: of `/health/startup`.
    :raises ValueError: for another word.
    :raises RuntimeError: for an app that is not wired.
    """
    given = {"ready": ready, "health": ready, "live": live, "startup": startup}
    wanted = {probe: _status(probe, word) for probe, word in given.items() if word is not None}
    if STATE not in app.extensions:
        raise RuntimeError(f"This app ({app.name!r}) is not wired to a HealthCheck.")
    wired = app.extensions[STATE]
    verdict, true_report = wired.verdict, survey.survey

    def report(gate: Gate, asked: Verdict, probe: str, *more: t.Any) -> Report:
        found = true_report(gate, asked, probe, *more)
        if asked is not verdict or probe not in wanted:
            return found
        status = wanted[probe]
        reason = "" if status is Status.PASS else REASON
        return dataclasses.replace(found, status=status, server=status, reason=reason)

    true_class = type(verdict)
    with mock.patch.object(survey, "survey", report):
        # The class, not the object: the answers to the probes hold on to this very object.
        verdict.__class__ = _class(true_class, wanted)
        try:
            yield
        finally:
            verdict.__class__ = true_class
            verdict.good_until = 0.0


def _status(probe: str, word: Status | str) -> Status:
    try:
        return Status(word)
    except ValueError:
        words = " or ".join(repr(str(status)) for status in Status)
        raise ValueError(f"'{probe}' must be {words}, not {word!r}") from None


def _class(true_class: type[Verdict], wanted: cabc.Mapping[str, Status]) -> type[Verdict]:
    """A verdict that says what is wanted, and remembers nothing."""

    def says(probe: str, method: str) -> cabc.Callable[[Verdict], bool]:
        def answer(self: Verdict) -> bool:
            if probe in wanted:
                return wanted[probe] is not Status.FAIL
            return bool(getattr(true_class, method)(self))

        return answer

    parts = {
        "ready": ("_serves", "_checks_allow"),
        "live": ("_lives", "_checks_let_live"),
        "startup": ("_has_opened", "_started"),
    }
    members: dict[str, t.Any] = {
        method: says(probe, method) for probe, methods in parts.items() for method in methods
    }
    members["good_until"] = property(lambda self: 0.0, lambda self, value: None)
    return type("Forced", (true_class,), members)
