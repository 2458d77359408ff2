"""What a worker keeps in memory for its end, and what it is configured for."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from support.local import make_app

from flask_health import HealthCheck
from flask_health.workers import drain
from flask_health.workers.leaving import Leaving


@pytest.mark.parametrize(
    ("config", "delay"),
    [
        ({}, 5.0),
        ({"TESTING": True}, 0.0),
        ({"DEBUG": True}, 0.0),
        ({"HEALTH_DRAIN_DELAY": 7}, 7.0),
        ({"TESTING": True, "HEALTH_DRAIN_DELAY": 7}, 7.0),
    ],
)
def test_the_delay_of_an_app(config: dict[str, Any], delay: float) -> None:
    """5 s, but none in tests and in debug mode, unless it was configured."""
    health = HealthCheck(make_app(**config))
    assert health.gate.options.drain_delay == delay


def test_the_end_is_the_one_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is kept when the worker starts: what is on disk later does not count."""
    kept = drain._keep()
    assert kept.decode() == Path(inspect.getfile(Leaving)).read_text()
    monkeypatch.setitem(sys.modules, drain.LATER, None)
    found = drain._unpack(kept)
    assert found.Leaving is not Leaving
    assert {name for name in vars(found.Leaving) if name[0] != "_"} == {"is_over"}


def test_an_installation_without_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the module is loaded at the start."""
    later = importlib.import_module(drain.LATER)
    assert later.__spec__
    monkeypatch.setattr(later.__spec__, "origin", "leaving.pyc")
    assert drain._unpack(drain._keep()).Leaving is Leaving
