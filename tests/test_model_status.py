"""The three statuses and the worst of them."""

from __future__ import annotations

import itertools

import pytest

from flask_health.model.status import Status, worst


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [(Status.PASS, 200, "pass"), (Status.WARN, 200, "warn"), (Status.FAIL, 503, "fail")],
)
def test_a_status_has_a_code_and_a_word(status: Status, code: int, word: str) -> None:
    """Pass and warn are answered with 200, fail with 503; the value is the word on the wire."""
    assert status.http_code == code
    assert str(status) == status.value == word
    assert Status(word) is status


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_worst_is_decisive(length: int) -> None:
    """One fail makes the whole fail, else one warn makes it warn, in any order."""
    for statuses in itertools.product(Status, repeat=length):
        expected = Status.PASS
        if Status.WARN in statuses:
            expected = Status.WARN
        if Status.FAIL in statuses:
            expected = Status.FAIL
        assert worst(statuses) is expected, statuses


def test_the_worst_of_nothing_is_pass() -> None:
    """Where nothing can be wrong, nothing is."""
    assert worst([]) is Status.PASS
    assert worst(iter(())) is Status.PASS
