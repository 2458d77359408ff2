"""Workers that are processes and nothing else: told what to publish, killed for real.

A process that has imported the state directory's code forks them, in a millisecond each.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from flask_health.model.server import TOLD, WorkerState
from flask_health.workers.presence import Presence, appear
from flask_health.workers.server import Server
from support.environment import environment
from support.processes import running
from support.waiting import eventually


class Actor:
    """One worker of a boot, in a process of its own."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.state = ""
        self._channel = channel
        self._replies = channel.makefile("r")

    def do(self, what: str, **more: object) -> None:
        """Have it do something, and wait until it is done."""
        self._channel.sendall((json.dumps({"do": what, **more}) + "\n").encode())
        reply = self._replies.readline()
        assert reply == "done\n", f"{what} in {self.pid}: {reply!r}"

    def say(self, state: str) -> None:
        """Have it publish a state; one that was told to stop says nothing but that."""
        self.do("say", state=state)
        if self.state not in TOLD or state in TOLD:
            self.state = state

    def kill(self) -> None:
        """Kill it, and wait until the kernel has forgotten it."""
        os.kill(self.pid, signal.SIGKILL)
        self.gone()

    def gone(self) -> None:
        """Wait until it has ended."""
        eventually(lambda: running(self.pid), lambda runs: not runs, every=0.0005)
        self._replies.close()
        self._channel.close()


class Actors:
    """The process that forks actors; a context manager that leaves none behind."""

    def __init__(self, home: Path, base: Path) -> None:
        self.base = base
        self.living: list[Actor] = []
        self._control, theirs = socket.socketpair()
        with theirs:
            code = f"from support.actors import fork_actors; fork_actors({theirs.fileno()})"
            here = str(Path(__file__).resolve().parent.parent)
            env = environment(home)
            env["PYTHONPATH"] = os.pathsep.join([here, env["PYTHONPATH"]])
            self._popen = subprocess.Popen(
                [sys.executable, "-c", code], env=env, pass_fds=[theirs.fileno()]
            )

    def __enter__(self) -> Actors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        self._control.close()
        self._popen.wait(10)

    def spawn(self, boot: str, age: int, workers: int, state: str = "starting") -> Actor:
        """Start a worker of this boot that has published a state."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
            pid = int(self._control.recv(16))
        actor = Actor(pid, ours)
        self.living.append(actor)
        actor.do(
            "appear",
            base=str(self.base),
            boot=boot,
            age=age,
            workers=workers,
            master=os.getpid(),
        )
        actor.say(state)
        return actor

    def kill(self, actor: Actor) -> None:
        """Kill one."""
        self.living.remove(actor)
        actor.kill()

    def end(self) -> None:
        """Kill all."""
        while self.living:
            self.kill(self.living[-1])


def fork_actors(control: int) -> None:
    """Serve `Actors`, in a process of its own, until it goes away."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=control) as ours:
        while True:
            message, fds, _, _ = socket.recv_fds(ours, 16, 1)
            if not message:
                return
            (channel,) = fds
            pid = os.fork()
            if pid == 0:
                ours.close()
                with suppress(BaseException):
                    _act(channel)
                os._exit(1)
            os.close(channel)
            ours.sendall(str(pid).encode())


def _act(channel: int) -> None:
    """Be an actor."""
    presence: Presence | None = None
    with socket.socket(fileno=channel) as ours, ours.makefile("rw") as lines:
        for line in lines:
            order = json.loads(line)
            what = order.pop("do")
            if what == "appear":
                server = Server("worker", "", order["master"], order["workers"], order["age"])
                presence, _ = appear(server, order["boot"], [order["base"]])
            assert presence
            if what == "say":
                presence.say(WorkerState(order["state"]))
            elif what == "decide":
                presence.decide(order["fact"])
            elif what == "mend":
                presence.mend()
            elif what == "leave":
                presence.stop()
                presence.leave()
            lines.write("done\n")
            lines.flush()
            if what == "leave":
                os._exit(0)
