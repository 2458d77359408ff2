"""What is taken for a server, and what only looks like one."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flask_health.workers import otherservers
from flask_health.workers.server import Server


def here(workers: int | None = None) -> Server | None:
    """Return the server that this very frame is found to run in."""
    return otherservers.locate(sys._getframe(), workers)


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A master of uWSGI that has not forked yet, as its module shows it."""
    fake = SimpleNamespace(
        worker_id=lambda: 0, masterpid=lambda: 1, numproc=3, opt={"processes": b"3"}, has_threads=1
    )
    monkeypatch.setitem(sys.modules, "uwsgi", fake)
    return fake


def test_a_test_is_no_server() -> None:
    """Under pytest none of the servers is found, whichever of them are imported."""
    assert here() is None


def test_master_of_uwsgi(uwsgi: SimpleNamespace) -> None:
    """Before the fork it is a master; in a worker it is found again, with its number."""
    server = here()
    assert server
    assert (server.role, server.kind, server.workers) == ("master", "uwsgi", 3)
    uwsgi.worker_id = lambda: 2
    assert server.found_again
    worker = server.found_again()
    assert (worker.role, worker.age, worker.workers) == ("worker", 2, 3)


def test_uwsgi_hook_is_chained_once(uwsgi: SimpleNamespace) -> None:
    """However many apps are wired, the hook that was there is called once per fork."""
    called: list[str] = []
    uwsgi.post_fork_hook = lambda: called.append("theirs")
    here()
    hook = uwsgi.post_fork_hook
    here()
    assert uwsgi.post_fork_hook is hook
    hook()
    assert called == ["theirs"]


@pytest.mark.parametrize("threads", [0, 1])
def test_uwsgi_without_threads(
    uwsgi: SimpleNamespace, threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that setup needs threads, where uWSGI has none."""
    uwsgi.has_threads = threads
    with caplog.at_level(logging.WARNING, "flask_health"):
        here()
    assert ("enable-threads" in caplog.text) is not bool(threads)


@pytest.mark.parametrize(
    ("opt", "number"),
    [
        ({"cheaper": b"2"}, 2),
        ({"cheaper": b"1", "cheaper-initial": b"2"}, 2),
        ({}, 3),
    ],
)
def test_uwsgi_starts_fewer_workers_at_first(
    uwsgi: SimpleNamespace, opt: dict[str, Any], number: int
) -> None:
    """With `cheaper` only the workers that it starts at once are waited for."""
    uwsgi.opt = opt
    server = here()
    assert server
    assert server.workers == number


def test_package_mod_wsgi_is_no_apache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package from the index can be imported anywhere; only Apache's module has a group."""
    monkeypatch.setitem(sys.modules, "mod_wsgi", ModuleType("mod_wsgi"))
    assert here() is None


@pytest.mark.parametrize(("configured", "number"), [(4, 4), (None, 1)])
def test_number_of_workers_that_cannot_be_found(
    uwsgi: SimpleNamespace,
    configured: int | None,
    number: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """HEALTH_WORKERS says it; without it the log asks for it."""
    uwsgi.numproc = 0
    server = here(configured)
    assert server
    assert server.workers == number
    assert ("HEALTH_WORKERS" in caplog.text) is (configured is None)


def test_granian_option_of_another_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line that is not granian's says nothing about its workers."""
    monkeypatch.setattr(sys, "argv", ["/app/serve.py", "--workers", "7"])
    assert otherservers._granian_option() == 0
