"""Markers: what a file name says, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model.server import STATES, Census, Marker, WorkerState, parse_marker

numbers = st.integers(min_value=0, max_value=2**63)
markers = st.builds(Marker, numbers, numbers, numbers, numbers, st.sampled_from(STATES))


@given(markers)
def test_a_marker_survives_its_name(marker: Marker) -> None:
    """Every marker is read back from its own name, exactly."""
    assert parse_marker(marker.name) == marker


@given(markers)
def test_a_name_is_a_file_name(marker: Marker) -> None:
    """The name is plain ASCII without separators, and within the limit of every file system."""
    assert marker.name.isascii()
    assert not set(marker.name) & set("/\0 ")
    assert len(marker.name) < 255


@given(st.text() | st.text(alphabet="worker.0123456789ready-+_ \n"))
def test_any_text_is_a_marker_or_none(name: str) -> None:
    """A name that someone else put there never raises, and means nothing else than it says."""
    marker = parse_marker(name)
    if marker is not None:
        assert [int(part) for part in marker.name.split(".")[1:5]] == [
            int(part) for part in name.split(".")[1:5]
        ]
        assert name.endswith(f".{marker.state}")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "worker",
        "worker.",
        "worker.1.2.3.4",
        "worker.1.2.3.4.",
        "worker.1.2.3.4.READY",
        "worker.1.2.3.4.open",
        "worker.1.2.3.ready",
        "worker.1.2.3.4.5.ready",
        "worker.1.2.3.-4.ready",
        "worker.1.2.3.+4.ready",
        "worker.1.2.3. 4.ready",
        "worker.1.2.3.4_0.ready",
        "worker.1.2.3.٤.ready",
        "worker.1.2.3.4.ready ",
        "worker.1.2.3.4.ready~",
        ".worker.1.2.3.4.ready",
        "Worker.1.2.3.4.ready",
        "open",
        "record.12",
        "leader",
        ".tmp.12.1",
    ],
)
def test_other_names_are_ignored(name: str) -> None:
    """What is not exactly a marker is none."""
    assert parse_marker(name) is None


def test_the_youngest_worker_knows_how_many_are_wanted() -> None:
    """After a resize the worker that was started last was told the newest number."""
    old = Marker(3, 30, 1, 4, WorkerState.READY)
    young = Marker(9, 20, 1, 2, WorkerState.STARTING)
    assert Census((old, young)).expected == 2
    assert Census((young, old)).expected == 2
    assert Census().expected == 1
