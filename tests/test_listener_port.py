"""Who opens the second port, who holds a copy, and what is said when nobody can."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environment import free_port
from support.local import DEADLINE, sibling
from support.probing import Address
from support.second import connect
from support.waiting import eventually

from flask_health.model.server import WorkerState
from flask_health.workers.port import COPIES, FAILED, Port, accept
from flask_health.workers.presence import Presence

BOOT = "0123456789abcdef"
STARTING, READY, STOPPING = WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING


class Worker:
    """A worker in this process: a presence with real locks, and its share of the port."""

    def __init__(self, base: Path, age: int, state: WorkerState, address: str) -> None:
        self.presence: Presence = sibling(base, BOOT, age=age)
        self.presence.say(state)
        self.port = Port(address, self.presence)

    def turn(self, *others: Worker) -> Worker:
        """Does what is due, while others give copies to who asks."""
        givers = [threading.Thread(target=w.gives, daemon=True) for w in others if w.port.copies]
        for giver in givers:
            giver.start()
        self.port.turn()
        for giver in givers:
            giver.join(DEADLINE)
        return self

    def gives(self) -> None:
        """Gives one copy, or nobody asks in time."""
        copies = self.port.copies
        assert copies
        copies.settimeout(0.5)
        self.port.give_copy()
        copies.settimeout(0.0)

    def reached(self, address: Address) -> bool:
        """Tell whether who connects to an address arrives at this worker's share."""
        assert self.port.socket
        with connect(address):
            accept(self.port.socket).close()
        return True

    def end(self) -> None:
        """Leaves nothing behind."""
        self.port.let_go()
        self.presence.leave()


class Server:
    """The workers of one server."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.number = free_port()
        self.workers: list[Worker] = []

    def add(self, state: WorkerState = READY, address: str = "") -> Worker:
        """Adds a worker that has not done anything yet."""
        address = address or f"127.0.0.1:{self.number}"
        self.workers.append(Worker(self.base, len(self.workers) + 1, state, address))
        return self.workers[-1]

    def file(self, name: str) -> Path:
        """Return the path of a file in the state directory."""
        return Path(self.workers[0].presence.directory.path, name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Nobody yet."""
    made = Server(tmp_path)
    yield made
    for worker in made.workers:
        worker.end()


def test_one_opens_it_and_the_others_get_copies(server: Server) -> None:
    """One is elected; who connects can be answered by any."""
    first = server.add().turn()
    second = server.add().turn(first)
    assert first.port.is_elected
    assert not second.port.is_elected
    assert first.reached(server.number)
    assert second.reached(server.number)
    assert not first.port.problem
    assert not second.port.problem


def test_nothing_is_lost_with_the_elected_one(server: Server) -> None:
    """The port stays open, its queue with it; the next one is elected, and gives copies."""
    first = server.add().turn()
    second = server.add().turn(first)
    with connect(server.number):
        first.end()
        assert second.port.socket
        accept(second.port.socket).close()
    second.turn()
    assert second.port.is_elected
    assert server.add().turn(second).reached(server.number)


def test_who_gets_no_copy_asks_again(server: Server) -> None:
    """An elected worker that is stopped gives none; once it is gone, another one opens the port."""
    first = server.add().turn()
    second = server.add()
    second.port.turn()
    assert second.port.socket is None
    first.end()
    second.port.turn()
    assert second.port.is_elected
    assert second.reached(server.number)


def test_a_worker_that_serves_is_preferred(server: Server) -> None:
    """One that starts serves the port while nobody is ready, and stands back for who is."""
    first = server.add(STARTING).turn()
    second = server.add(STARTING).turn(first)
    assert first.port.is_elected
    second.presence.say(READY)
    first.turn()
    second.turn()
    assert second.port.is_elected
    assert not first.port.is_elected
    first.turn()
    assert first.reached(server.number)
    first.presence.say(READY)
    first.turn()
    assert second.port.is_elected


@pytest.mark.parametrize("state", [STARTING, STOPPING])
def test_where_nobody_serves_any_will_do(server: Server, state: WorkerState) -> None:
    """At the start of a server, and at its end."""
    assert server.add(state).turn().port.is_elected


def test_after_a_reload_the_address_may_be_another(server: Server) -> None:
    """A copy of what the old configuration says is not taken; the old worker has to go first."""
    old = server.add().turn()
    number = free_port()
    new = server.add(address=f"127.0.0.1:{number}").turn(old)
    assert new.port.socket is None
    old.end()
    assert new.turn().reached(number)


@pytest.mark.parametrize("what", [COPIES, "listener", ""])
def test_what_is_removed_comes_back(server: Server, what: str) -> None:
    """A cleaner of temporary files takes a name, or the whole directory: the port stays open."""
    first = server.add().turn()
    if what:
        server.file(what).unlink()
    else:
        shutil.rmtree(server.base / f"flask-health-{os.geteuid()}")
        first.presence.mend()
    first.turn()
    assert first.reached(server.number)
    second = server.add().turn(first)
    assert [first.port.is_elected, second.port.is_elected] == [True, False]
    assert second.reached(server.number)


def test_orphans_let_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the master is gone, its successor gets the port."""
    first = server.add().turn()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    first.presence.watch._scanned_at = -1
    first.turn()
    assert first.port.socket is None
    with socket.socket() as successor:
        successor.bind(("127.0.0.1", server.number))


def test_a_taken_port_is_told_once_and_tried_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in the state directory, where all workers read it, until it is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.number))
        other.listen()
        first = server.add().turn().turn()
        second = server.add().turn(first)
        why = f"the second port '127.0.0.1:{server.number}' cannot be opened: it is taken"
        assert first.port.seen_problem == second.port.seen_problem == why
        assert server.file(FAILED).read_text() == why
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == [
            f"{why}; trying again every second"
        ]
    first.turn()
    second.turn(first)
    assert first.reached(server.number)
    assert not first.port.seen_problem
    assert not second.port.seen_problem
    assert not server.file(FAILED).exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1:9000", "cannot assign requested address"),
        ("no.such.host.invalid:9000", ""),
        ("unix:/no/such/folder/a.socket", "no such file or directory"),
        ("unix:/proc/self/a.socket", ""),
    ],
)
def test_an_address_that_cannot_be_had(server: Server, address: str, why: str) -> None:
    """Is told, whatever is wrong with it."""
    port = server.add(address=address).turn().port
    assert port.socket is None
    assert f"'{address}' cannot be opened: {why}" in port.problem


def test_a_forbidden_port(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports below 1024 are not for everybody."""
    import flask_health.workers.port as module

    def refuse(address: str) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "_opened", refuse)
    assert server.add().turn().port.problem.endswith("opened: it is forbidden to this user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a unix socket may be."""
    return tmp_path / "a.socket"


def test_a_unix_socket(server: Server, path: Path) -> None:
    """Its name goes with the last worker that has a share, and not before."""
    first = server.add(address=f"unix:{path}").turn()
    second = server.add(address=f"unix:{path}").turn(first)
    first.port.leave()
    assert second.reached(str(path))
    second.port.leave()
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced(server: Server, path: Path) -> None:
    """What a server that was killed has left behind is in nobody's way."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert server.add(address=f"unix:{path}").turn().reached(str(path))


def test_the_living_are_not_robbed(server: Server, path: Path) -> None:
    """A socket on which somebody listens is taken, and stays."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert server.add(address=f"unix:{path}").turn().port.problem.endswith("it is taken")
        server.workers[0].port.leave()
        with connect(str(path)):
            pass


def test_what_is_no_socket_stays(server: Server, path: Path) -> None:
    """A file at its path is left alone."""
    path.write_text("precious")
    port = server.add(address=f"unix:{path}").turn().port
    assert port.problem.endswith("there is a file that is no socket")
    port.leave()
    assert path.read_text() == "precious"


def test_ipv6(server: Server) -> None:
    """Brackets make it an address of version 6."""
    worker = server.add(address=f"[::1]:{server.number}").turn()
    assert worker.port.socket
    with socket.create_connection(("::1", server.number), timeout=DEADLINE):
        accept(worker.port.socket).close()


def test_without_a_state_directory_each_tries() -> None:
    """A server of one has nobody to share with."""
    number = free_port()
    port = Port(f"127.0.0.1:{number}", None)
    try:
        port.turn()
        assert port.is_elected
        assert port.serves
        assert port.socket
        with connect(number):
            accept(port.socket).close()
    finally:
        port.leave()
    with socket.socket() as successor:
        successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        successor.bind(("127.0.0.1", number))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_holds_nothing(server: Server) -> None:
    """It outlives its parent, and the port is free all the same."""
    first = server.add().turn()
    ours, childs = socket.socketpair()
    with ours, childs:
        child = os.fork()
        if child == 0:
            ours.close()
            childs.send(b"forked")
            childs.recv(1)
            os._exit(0)
        try:
            assert ours.recv(6) == b"forked"
            first.end()
            with socket.socket() as successor:
                successor.bind(("127.0.0.1", server.number))
                successor.listen()
        finally:
            ours.send(b"x")
            os.waitpid(child, 0)


def test_an_upgrade_is_no_error(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the old server goes, the new one of a USR2 finds the port taken: that is as it should
    be.
    """
    monkeypatch.setenv("GUNICORN_PID", "1")
    with socket.socket() as old:
        old.bind(("127.0.0.1", server.number))
        old.listen()
        assert server.add().turn().port.problem
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
        # Whoever has it now is not the old server, which has gone.
        monkeypatch.setenv("GUNICORN_PID", str(2**22 + 1))
        server.workers[0].turn().turn()
        told = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
        assert told == [f"{server.workers[0].port.problem}; trying again every second"]
    assert eventually(lambda: server.workers[0].turn().port.socket, why="the port is free")
