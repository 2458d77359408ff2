"""Deciding what a check is: counting, staleness, observed values. Time is an argument."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health import Status
from flask_health.model.check import (
    Check,
    History,
    Outcome,
    Result,
    advance,
    judge,
    observe,
)
from flask_health.model.report import Report, aggregate

PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL
WORDS = {"S": PASS, "D": WARN, "F": FAIL}


def check(failure: int = 3, success: int = 1, **options: object) -> Check:
    """A check with these thresholds, interval 10 s and timeout 5 s."""
    made = Check("database", lambda: None, failure_threshold=failure, success_threshold=success)
    return replace(made, **options)  # type: ignore[arg-type]


def after(runs: str, of: Check, before: History | None = None, began: int = 0) -> History:
    """The history after these runs, a second apart: S is pass, D degraded, F fail."""
    history = before
    for second, run in enumerate(runs.replace(" ", ""), start=began):
        output = "refused" if run == "F" else ""
        history = advance(
            history, Outcome(WORDS[run], output, float(second), float(second), 0.1), of
        )
    assert history
    return history


# Counting


@pytest.mark.parametrize(
    ("failure", "success", "runs", "status"),
    [
        (3, 1, "S FF", PASS),  # E01
        (3, 1, "S FFF", FAIL),  # E02
        (1, 3, "F SS", FAIL),  # E04
        (1, 3, "F SSS", PASS),  # E04
        (1, 3, "F SSS F", FAIL),  # E04
        (3, 1, "S FF S FF", PASS),  # E05: a success starts the count anew
        (3, 1, "S FF D FF", WARN),  # so does one that warns
        (3, 3, "S FFF SS F SS", FAIL),  # E07: and so does a failure
        (3, 3, "F", FAIL),  # the first result applies at once
        (3, 3, "F S", FAIL),
        (3, 3, "D", WARN),
        (3, 3, "D S", PASS),  # between good and less good nothing is counted
        (3, 3, "S D", WARN),
        (3, 2, "F SD", WARN),
        (3, 2, "F DS", PASS),
    ],
)
def test_counting(failure: int, success: int, runs: str, status: Status) -> None:
    """So many runs in a row that say otherwise (E01, E02, E04, E05, E07)."""
    assert after(runs, check(failure, success)).status is status


def kubelet(runs: Sequence[str], failure: int, success: int) -> bool:
    """Whether a component is up by the kubelet's own counting (`prober/worker.go`).

    It keeps the last result and how often that came in a row, and passes a result on once it came
    often enough. Ours differs in one thing: the very first one is passed on at once.
    """
    last, run, up = "", 0, True
    for number, result in enumerate(runs):
        run = run + 1 if result == last else 1
        last = result
        needed = 1 if number == 0 else failure if result == "F" else success
        if run >= needed:
            up = result == "S"
    return up


histories = st.text("SDF", min_size=1, max_size=40)
thresholds = st.integers(1, 5)


@given(runs=histories, failure=thresholds, success=thresholds)
def test_the_counting_is_the_kubelet_s(runs: str, failure: int, success: int) -> None:
    """Whatever the row of results and the thresholds; a warning counts as a success (E01-E07)."""
    up = kubelet(runs.replace("D", "S"), failure, success)
    assert (after(runs, check(failure, success)).status is not FAIL) is up


@given(runs=histories, failure=thresholds, success=thresholds)
def test_what_a_history_remembers(runs: str, failure: int, success: int) -> None:
    """The failures in a row, since when, and since when the verdict has been what it is."""
    of = check(failure, success)
    verdicts = [after(runs[: n + 1], of).status for n in range(len(runs))]
    final = after(runs, of)
    tail = len(runs) - len(runs.rstrip("F"))
    assert final.failures == tail
    assert final.down_since == (float(len(runs) - tail) if tail else None)
    assert final.since == len(runs) - len([*[list(g) for _, g in groupby(verdicts)][-1]])
    assert final.last.status is WORDS[runs[-1]]
    contradicted = (final.status is FAIL) is not (final.last.status is FAIL)
    assert bool(final.streak) is contradicted
    assert final.settled is (final.status is not FAIL and not contradicted)


def test_down_since_the_first_failure_even_at_the_epoch() -> None:
    """Time zero is a time."""
    assert after("FF", check()).down_since == 0.0


# Judging


def test_a_check_that_has_not_run_fails() -> None:
    """Critical or not: nothing is known."""
    for critical in (True, False):
        result = judge(check(critical=critical), None, 100.0)
        assert (result.status, result.counts_as, result.time) == (FAIL, FAIL, None)
        assert result.output == "not run yet"


@pytest.mark.parametrize(
    ("age", "status"), [(0.0, PASS), (25.0, PASS), (25.1, FAIL), (3600.0, FAIL)]
)
def test_a_result_is_believed_for_two_intervals_and_a_timeout(age: float, status: Status) -> None:
    """An older one is stale: fail, with its age (D08)."""
    result = judge(check(), after("S", check()), age)
    assert result.status is status
    assert result.time == 0.0  # when it ran is told in any case
    if status is FAIL:
        assert result.output == f"stale: the last result is {age:.0f} s old"


def test_what_is_not_critical_counts_as_a_warning() -> None:
    """When it fails and when it is stale; its own status stays fail."""
    of = check(critical=False)
    for history, now in ((after("F", of), 0.0), (after("S", of), 100.0)):
        result = judge(of, history, now)
        assert (result.status, result.counts_as) == (FAIL, WARN)


def test_a_warning_counts_as_one() -> None:
    """Critical or not."""
    for critical in (True, False):
        of = check(critical=critical)
        result = judge(of, after("D", of), 0.0)
        assert (result.status, result.counts_as) == (WARN, WARN)


@pytest.mark.parametrize(
    ("runs", "output"),
    [
        ("S", ""),
        ("F", "refused"),
        ("S F", "refused (1 of 3 failures)"),
        ("D FF", "refused (2 of 3 failures)"),
        ("S FFF", "refused"),
        ("S FFF S", "works again (1 of 2 successes)"),
        ("S FFF D", "works again (1 of 2 successes)"),
        ("S FFF SS", ""),
        ("S FFF S F", "refused"),
    ],
)
def test_the_reason(runs: str, output: str) -> None:
    """Why it is not pass, or may soon not be; never that of an earlier run (C18)."""
    of = check(3, 2)
    assert judge(of, after(runs, of), 0.0).output == output


def test_a_result_tells_of_the_last_run() -> None:
    """Its time, duration and observation, and since when it has been so."""
    outcome = Outcome(PASS, "", 1.7e9, 50.0, 0.25, 17, "ms")
    result = judge(check(), advance(after("SS", check()), outcome, check()), 51.0)
    assert (result.time, result.duration) == (1.7e9, 0.25)
    assert (result.observed_value, result.observed_unit) == (17, "ms")
    assert (result.since, result.failures) == (0.0, 0)


# Observing


class Evil(int):
    """A number that cannot be written."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "observed"),
    [
        (None, (PASS, None, None)),
        (True, (PASS, None, None)),
        (False, (FAIL, None, None)),
        ((False, "ms"), (FAIL, None, None)),
        ("FATAL", (PASS, None, None)),
        ("", (PASS, None, None)),
        (0, (PASS, 0, None)),
        (0.0, (PASS, 0.0, None)),
        (42, (PASS, 42, None)),
        (-1.5, (PASS, -1.5, None)),
        ((42, "rows"), (PASS, 42, "rows")),
        ((0.25, ""), (PASS, 0.25, "")),
        ((None, "ms"), (PASS, None, None)),
        ((1, 2), (PASS, None, None)),
        ((1, "a", "b"), (PASS, None, None)),
        ([1, "ms"], (PASS, None, None)),
        ((1, "token=abc"), (PASS, 1, "token=***")),
        (math.nan, (PASS, "nan", None)),
        ((math.inf, "ms"), (PASS, "inf", "ms")),
        (-math.inf, (PASS, "-inf", None)),
        (2**63 - 1, (PASS, 2**63 - 1, None)),
        (2**63, (PASS, 2.0**63, None)),
        (10**400, (PASS, "inf", None)),
        (-(10**400), (PASS, "-inf", None)),
        (b"bytes", (PASS, None, None)),
        (object(), (PASS, None, None)),
        ({"status": "UP"}, (PASS, None, None)),
        pytest.param(Evil(3), (PASS, 3, None), id="evil"),
        (Fraction(1, 2), (PASS, None, None)),
    ],
)
def test_what_a_return_value_says(value: object, observed: tuple[object, ...]) -> None:
    """False fails, everything else passes; numbers are observed, with their unit (A09, A13)."""
    assert observe(value) == observed


def test_a_cycle_is_no_observation() -> None:
    """Nothing looks into what a check returns."""
    cycle: list[object] = []
    cycle.append(cycle)
    assert observe(cycle) == (PASS, None, None)
    assert observe((cycle, "ms")) == (PASS, None, None)


def test_a_unit_is_not_endless() -> None:
    """It is told with every answer, and written for other workers to read."""
    _, _, unit = observe((1, "x" * 1_000_000))
    assert unit is not None
    assert len(unit) <= 500


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, st.text()) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(anything)
def test_every_observation_is_json(value: object) -> None:
    """Strict JSON: no NaN, no Infinity, and a number that reads back as it was."""
    status, observed, unit = observe(value)
    assert json.loads(json.dumps([observed, unit], allow_nan=False)) == [observed, unit]
    lies = value is False or (isinstance(value, tuple) and value[0] is False)
    assert (status is FAIL) is lies


# Aggregates


def results(words: str) -> list[Result]:
    """Results by letter: S, D, F, f (fails, not critical), N (not run yet)."""
    found = []
    for number, word in enumerate(words):
        of = replace(check(critical=word != "f"), name=f"check{number}")
        history = None if word == "N" else after(word.upper(), of)
        found.append(judge(of, history, 0.0))
    return found


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("", PASS),  # A01
        ("SSS", PASS),
        ("SDS", WARN),  # A03
        ("SFS", FAIL),  # A04
        ("Sf", WARN),  # A06
        ("fF", FAIL),  # A07
        ("DF", FAIL),
        ("SN", FAIL),
    ],
)
def test_an_aggregate_is_the_worst(words: str, status: Status) -> None:
    """Of what each check counts as (A01, A03, A04, A06, A07)."""
    assert aggregate("ready", results(words)) is status


def test_liveness_leaves_out_what_has_not_run() -> None:
    """Not to know is no reason to restart."""
    assert aggregate("live", results("SN")) is PASS
    assert aggregate("live", results("SF")) is FAIL


def report(words: str, server: Status = PASS, status: Status | None = None) -> Report:
    """A report of readiness with these results."""
    found = tuple(results(words))
    told = aggregate("ready", found) if status is None else status
    return Report("ready", told, server, "", "open", "local", 1, found)


@pytest.mark.parametrize(
    ("words", "excluded", "status"),
    [
        ("SF", ["check1"], PASS),  # C06
        ("SFF", ["check1"], FAIL),
        ("SFF", ["check1", "check2"], PASS),  # C09
        ("SFD", ["check1"], WARN),
        ("SF", ["nope"], FAIL),
        ("SF", ["nope", "check1"], PASS),
        ("SF", [""], FAIL),
        ("SN", ["check1"], PASS),
    ],
)
def test_leaving_checks_out(words: str, excluded: list[str], status: Status) -> None:
    """The union of what is named; an unknown name changes nothing (C06, C09)."""
    told = report(words).excluding(excluded)
    assert told.status is status
    assert told.excluded == set(excluded)
    assert len(told.results) == len(words)  # they are still told


def test_the_server_is_never_left_out() -> None:
    """Not by its check, and not by any other name."""
    assert report("S", FAIL, FAIL).excluding(["check0"]).status is FAIL
    assert report("S", FAIL, FAIL).excluding(["gate", "server"]).status is FAIL
    assert report("S", WARN, WARN).excluding(["check0"]).status is WARN


def test_an_unknown_name_does_not_heal_what_others_have_decided() -> None:
    """The status may be worse than these results: of another probe, or in another worker."""
    assert report("S", PASS, FAIL).excluding(["nope"]).status is FAIL


def test_leaving_out_never_makes_it_worse() -> None:
    """Startup stays passed though one of its checks fails now; leaving out another one, too."""
    assert report("FS", PASS, WARN).excluding(["check1"]).status is WARN
