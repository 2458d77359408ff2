"""Figure 13: what a fleet costs its Redis and each of its servers, and how fast it learns."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import hiredis

from flask_health.fleet.keys import Keys
from flask_health.fleet.member import PERIOD
from flask_health.fleet.scripts import BEAT

from .measure import Line, alternate, at_least, at_most
from .pace import probe_once
from .prober import Answer
from .servers import Server, free_port, gunicorn, wait_for
from .simulated import Connection, Member

SIZES = (10, 100, 1000, 5000)
QUICK_SIZES = (10, 50)
PASSWORD = "s3cret-of-the-benchmark"

COMMANDS_LIMIT, BYTES_LIMIT, LEARNS_LIMIT, CONSTANT_LIMIT = 1.0, 2048.0, 3.0, 1.25
"""Commands and bytes for each server and second; seconds at 1,000 servers; 5,000 against 100."""

NOISE = 1.5
"""How many times the 99th percentile of a server without a fleet counts as the same."""

PROBE_PERIOD = 0.02


@dataclass(frozen=True)
class Store:
    """A running Redis."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"


@dataclass(frozen=True)
class Cost:
    """What a fleet at rest costs, and how fast all others learn that one server fails.

    Commands and bytes are for each server and second; `cpu` and `client`, what Redis and the
    simulation take, are shares of one core, `memory` is in bytes, `learnt` in seconds.
    """

    servers: int
    commands: float
    size: float
    cpu: float
    client: float
    memory: float
    learnt: float


def measure(quick: bool = False) -> list[Line]:
    """Growing fleets first, then probes of real servers."""
    lines = []
    costs = []
    for servers in QUICK_SIZES if quick else SIZES:
        with store() as redis:
            costs.append(asyncio.run(_grow(redis, servers, 3.0 if quick else 20.0)))
        lines += _lines(costs[-1])
    per_server = {cost.servers: cost.size for cost in costs}
    least, most = sorted(per_server)[-3 if len(costs) > 2 else 0], max(per_server)
    what = f"bytes for each server, {most} / {least} servers"
    ratio = per_server[most] / per_server[least]
    lines.append(at_most("fleet", what, ratio, "x", CONSTANT_LIMIT))
    return [*lines, *_probes(5.0 if quick else 40.0)]


@contextlib.contextmanager
def store() -> Iterator[Store]:
    """A Redis of its own, which keeps nothing on disk."""
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        raise FileNotFoundError("redis-server is not installed: apt-get install redis-server")
    with tempfile.TemporaryDirectory() as home:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", home]
        process = subprocess.Popen(
            [program, *options, "--requirepass", PASSWORD], stdout=subprocess.DEVNULL
        )
        try:
            _await(port)
            yield Store(port, process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, hiredis.ReplyError):
            asyncio.run(_greet(port))
            return
        time.sleep(0.05)
    raise TimeoutError("redis-server did not start")


async def _greet(port: int) -> None:
    (await Connection.open(port, PASSWORD)).close()


async def _grow(redis: Store, servers: int, seconds: float) -> Cost:
    """A fleet of so many simulated servers, watched for so many seconds."""
    keys = Keys("shop")
    asked = await Connection.open(redis.port, PASSWORD)
    await asked.ask("SCRIPT", "LOAD", BEAT.text)
    lines = [await Connection.open(redis.port, PASSWORD) for _ in range(servers)]
    members = [Member(keys, number, line) for number, line in enumerate(lines)]
    for member in members:
        member.live()
    await asyncio.sleep(6.0)  # All have told of themselves, and learnt of the others.
    before, began = await _used(asked), time.monotonic()
    worked = time.process_time()
    await asyncio.sleep(seconds)
    after, lasted = await _used(asked), time.monotonic() - began
    client = (time.process_time() - worked) / lasted
    memory = float((await _info(asked, "memory"))["used_memory"])
    changed = time.monotonic()
    members[0].fail()
    while any(member.saw_failure is None for member in members):
        for member in members:
            if member.error:
                raise member.error
        await asyncio.sleep(0.01)
    learnt = max(member.saw_failure or 0.0 for member in members) - changed
    for member in members:
        member.stop()
    for each in (*lines, asked):
        each.close()
    calls, size, cpu = (b - a for a, b in zip(before, after, strict=True))
    each_second = lasted * servers
    return Cost(
        servers, calls / each_second, size / each_second, cpu / lasted, client, memory, learnt
    )


async def _used(asked: Connection) -> tuple[float, float, float]:
    """The scripts run for clients, the bytes in and out, and the seconds of CPU so far."""
    commands = await _info(asked, "commandstats")
    stats, cpu = await _info(asked, "stats"), await _info(asked, "cpu")
    calls = commands["cmdstat_evalsha"].partition("calls=")[2].partition(",")[0]
    size = int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])
    return float(calls), float(size), float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])


async def _info(asked: Connection, section: str) -> Mapping[str, str]:
    text: str = await asked.ask("INFO", section)
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in pairs if value}


def _lines(cost: Cost) -> list[Line]:
    fleet = f"{cost.servers} servers"
    pace = cost.commands * PERIOD * 0.9
    note = f"{cost.commands * cost.servers:.0f} commands/s in all, {pace:.0%} of the pace"
    sent = f"{cost.size * cost.servers / 1024:.0f} KiB/s in all"
    lines = [
        at_most("fleet", f"{fleet}: commands", cost.commands, "/s", COMMANDS_LIMIT, note),
        at_most("fleet", f"{fleet}: bytes", cost.size, "B/s", BYTES_LIMIT, sent),
        Line(
            "fleet",
            f"{fleet}: CPU of Redis",
            100 * cost.cpu,
            "%",
            note=f"its clients {cost.client:.0%}",
        ),
        Line("fleet", f"{fleet}: memory of Redis", cost.memory / 1024**2, "MiB"),
    ]
    what = f"{fleet}: until a change is seen by all"
    if cost.servers <= 1000:
        return [*lines, at_most("fleet", what, cost.learnt, "s", LEARNS_LIMIT)]
    return [*lines, Line("fleet", what, cost.learnt, "s")]


def _probes(seconds: float) -> list[Line]:
    """Probes of real servers side by side: without a fleet, and with Redis up, hung and down."""
    with contextlib.ExitStack() as stack:
        up, hung, down = (stack.enter_context(store()) for _ in range(3))
        urls = {"none": "", "up": up.url, "hung": hung.url, "down": down.url}
        running = {name: stack.enter_context(_server(url)) for name, url in urls.items()}
        for server in running.values():
            wait_for(server, "/health")
        hung.process.send_signal(signal.SIGSTOP)
        down.process.kill()
        time.sleep(5.0)
        answers = asyncio.run(_ask(running, seconds))
    lines = []
    bare = _percentile(answers["none"])
    for name in ("up", "hung", "down"):
        mine = _percentile(answers[name])
        note = f"{mine * 1000:.2f} ms, without a fleet {bare * 1000:.2f} ms"
        what = f"Redis {name}: probe p99, with / without"
        lines.append(at_most("fleet probe", what, mine / bare, "x", NOISE, note))
        good = 100 * statistics.mean(answer.ok for answer in answers[name])
        lines.append(at_least("fleet probe", f"Redis {name}: probes answered ok", good, "%", 100))
    return lines


def _server(url: str) -> contextlib.AbstractContextManager[Server]:
    return gunicorn(
        "fleeted:app", workers=2, environ={"FLASK_HEALTH_FLEET_URL": url} if url else {}
    )


async def _ask(running: Mapping[str, Server], seconds: float) -> dict[str, list[Answer]]:
    """Probes all of them in turns."""
    answers: dict[str, list[Answer]] = {name: [] for name in running}
    begin = time.monotonic()
    for number in range(round(seconds / PROBE_PERIOD)):
        for name in alternate(list(running), number):
            answers[name].append(await probe_once(running[name].port, "/health", 2.0))
        await asyncio.sleep(max(0.0, begin + (number + 1) * PROBE_PERIOD - time.monotonic()))
    return answers


def _percentile(answers: list[Answer]) -> float:
    """The time in seconds within which 99 of 100 probes are answered."""
    times = sorted(answer.received - answer.sent for answer in answers)
    return statistics.quantiles(times, n=100, method="inclusive")[98]
