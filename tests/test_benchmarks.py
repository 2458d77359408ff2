"""The benchmark measures what it says: its arithmetic, and one short run of each figure."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.system import REDIS
from support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # after the installed package, which it must not hide

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import death, hanging, load, measure, outage, pace, runs, startup  # noqa: E402
from benchmarks.apps import dependent, peers  # noqa: E402
from benchmarks.dependency import Call, Dependency  # noqa: E402
from benchmarks.prober import Answer  # noqa: E402


class Answering(BaseHTTPRequestHandler):
    """200 for `/ok`, else 503."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ok" else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def handle(self) -> None:
        with suppress(ConnectionError):  # The generator hangs up in the middle of things.
            super().handle()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def answer(sent: float, status: int | None, worker: str = "", error: str = "") -> Answer:
    """A probe that was answered 1 ms after it was sent."""
    return Answer(sent, sent + 0.001, status, worker, error)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the figures are Linux's")
@pytest.mark.parametrize("figure", command.FIGURES)
def test_every_figure_is_measured(figure: str, tmp_path: Path) -> None:
    """A short run yields finite values, at least one of them next to a budget."""
    if figure == "fleet" and not REDIS.is_met:
        pytest.skip(f"not installed: {REDIS.apt_get}")
    file = tmp_path / "values.json"
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}

    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", figure, "--quick", "--json", str(file)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert run.returncode in (0, 1), run.stderr
    lines = json.loads(file.read_text())["lines"]
    assert all(math.isfinite(line["value"]) for line in lines)
    assert {line["verdict"] for line in lines} & {"PASS", "FAIL"}
    assert all(line["what"] in run.stdout for line in lines)
    assert run.returncode == any(line["verdict"] == "FAIL" for line in lines)


def test_an_unknown_figure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and the names that exist are in the message."""
    with pytest.raises(SystemExit, match="2"):
        command.main(["speed"])

    message = capsys.readouterr().err
    assert "speed" in message
    assert "throughput" in message


def test_what_waits_is_measured_at_the_same_time() -> None:
    """Everything else is measured alone, in the order that was asked for, and before it."""
    assert command.turns(["runs", "probe", "outage", "death"]) == [
        ["probe"],
        ["death"],
        ["runs", "outage"],
    ]
    assert command.turns(["probe"]) == [["probe"]]
    assert {name for turn in command.turns(list(command.FIGURES)) for name in turn} == {
        *command.FIGURES
    }


def test_rounds_alternate_in_direction() -> None:
    """Every second round visits the names in reverse: A B B A."""
    visited: list[str] = []

    samples = measure.interleave(
        {name: lambda times, name=name: visited.append(name) for name in "ab"},  # type: ignore[misc]
        rounds=2,
        batch_seconds=1e-9,
    )

    assert list("abba") == visited[-4:]
    assert {name: len(values) for name, values in samples.items()} == {"a": 2, "b": 2}


def test_a_pause_of_the_machine_is_no_slow_operation() -> None:
    """A batch that took long once is not made so small that its own overhead counts."""
    pauses = iter([0.05])
    sizes: list[int] = []

    def batch(times: int) -> None:
        sizes.append(times)
        if len(sizes) == 2:  # The first that is timed.
            time.sleep(next(pauses))

    measure.interleave({"a": batch}, rounds=1, batch_seconds=1e-4)

    assert sizes[-1] > 1


def test_an_interval_surrounds_its_median() -> None:
    """The bootstrap interval is around the median, and the same values give the same one."""
    values = [0.9, 1.0, 1.1, 1.0, 0.95, 1.05, 1.0, 3.0]

    low, high = measure.median_interval([values])

    assert low <= 1.0 <= high < 3.0
    assert (low, high) == measure.median_interval([values])


def test_an_interval_spans_groups_that_differ() -> None:
    """Many values within each group do not hide that the groups disagree."""
    low, high = measure.median_interval([[0.9] * 50, [1.0] * 50, [1.1] * 50])

    assert (low, high) == (0.9, 1.1)


def test_a_ratio_is_taken_within_rounds() -> None:
    """A round that was slow for both does not count against either."""
    assert measure.median_ratio([2.0, 200.0, 4.0], [1.0, 100.0, 2.0]) == 2.0
    assert measure.median_difference([2.0, 101.0, 3.0], [1.0, 100.0, 2.0]) == 1.0


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (measure.at_most("f", "at the limit", 5.0, "us", 5.0), "PASS"),
        (measure.at_most("f", "above the limit", 5.1, "us", 5.0), "FAIL"),
        (measure.at_least("f", "at the limit", 0.97, "x", 0.97), "PASS"),
        (measure.at_least("f", "below the limit", 0.96, "x", 0.97), "FAIL"),
        (measure.Line("f", "without a budget", 1.0, "s"), ""),
    ],
)
def test_a_value_is_held_against_its_budget(line: measure.Line, verdict: str) -> None:
    """The limit itself is within the budget."""
    assert verdict == line.verdict


def test_start_up_counts_what_probes_saw() -> None:
    """Refusals before the first accepted connection are nobody's fault; what follows counts."""
    answers = [
        answer(0.0, None, error="ConnectionRefusedError"),
        answer(1.0, 503),
        answer(2.0, 200),
        answer(3.0, 503),
        answer(4.0, None, error="ConnectionResetError"),
        answer(5.0, 200, "11"),
        answer(6.0, 200, "12"),
    ]

    seen = startup.judge(answers, begin=0.5, last_setup=4.5)

    assert (seen.flips, seen.early, seen.unanswered) == (1, 1, 1)
    assert pytest.approx(seen.lag) == 0.5
    assert seen.workers == 2


def test_start_up_without_an_end_has_no_lag() -> None:
    """A server that never turns `ok` has an infinite lag, which no budget allows."""
    assert math.inf == startup.judge([answer(1.0, 503)], begin=0.0, last_setup=0.5).lag


def test_a_death_is_judged_by_probes_sent_after_it() -> None:
    """Answers to probes sent before the kill, and after the time of the watch, do not count."""
    answers = [answer(0.99, 503), answer(1.02, 200), answer(1.05, 503), answer(1.6, 200)]

    seen = death.judge(answers, killed=1.0, watched=0.5)

    assert pytest.approx(seen.last_ok) == 0.021
    assert pytest.approx(seen.first_other) == 0.051


def test_an_outage_is_judged_by_what_every_worker_saw() -> None:
    """The last worker counts; what was red before the death, and what is red again, does not."""
    changes = [
        outage.Change(pid, moment, code)
        for pid, moment, code in [
            (1, 0.5, 503),
            (1, 1.0, 200),
            (2, 1.0, 200),
            (1, 5.1, 503),
            (2, 5.3, 503),
            (1, 6.0, 200),
            (1, 6.1, 503),
        ]
    ]

    seen = outage.judge(changes, died=2.0)

    assert pytest.approx(seen.last) == 3.3
    assert pytest.approx(seen.spread) == 0.2
    assert outage.codes(changes[:3]) == [200, 200]
    assert outage.codes(changes) == [503, 503]


def test_runs_are_counted_from_the_first_on() -> None:
    """A run at the end of the time is not part of it."""
    calls = [Call(10.0, "a"), Call(10.5, "b"), Call(11.9, "a"), Call(12.0, "a")]

    assert runs.within(calls, 2.0) == {"a": 2, "b": 1}
    assert not runs.within([], 2.0)


def test_a_request_without_an_answer_is_not_served() -> None:
    """Whatever its code, an answer is one; the 99th percentile is near the longest."""
    answers = [answer(float(n), 503) for n in range(3)] + [answer(3.0, None, error="TimeoutError")]

    assert hanging.share(answers) == 75.0
    assert hanging.share([]) == 0.0
    assert pytest.approx(hanging.percentile(answers)) == 0.001


def test_paced_requests_do_not_wait_for_each_other() -> None:
    """Each is sent when it is due, and given up after its own time."""
    with Dependency() as mute:
        mute.freeze()
        began = time.monotonic()
        answers = asyncio.run(pace.paced(mute.port, "/", 0.05, 0.5, timeout=0.3))
        took = time.monotonic() - began

    assert [answer.status for answer in answers] == [None] * 10
    assert {"TimeoutError"} == {answer.error for answer in answers}
    assert took < 10 * 0.3


def test_paced_requests_are_answered(port: int) -> None:
    """They tell the codes that they got."""
    answers = asyncio.run(pace.paced(port, "/ok", 0.01, 0.05, timeout=10.0))

    assert [answer.status for answer in answers] == [200] * 5


def test_a_dependency_counts_who_asks() -> None:
    """By name, once for each call."""
    with Dependency() as dependency:
        for name in ("a", "b", "a"):
            assert dependent.ask(dependency.port, name)

        assert [call.name for call in dependency.calls] == ["a", "b", "a"]


def test_a_dead_dependency_refuses_until_it_lives_again() -> None:
    """On the same port."""
    with Dependency() as dependency:
        dependency.die()
        with pytest.raises(OSError):
            dependent.ask(dependency.port, "a")

        dependency.revive()

        assert dependent.ask(dependency.port, "a")


def test_a_frozen_dependency_answers_when_it_thaws() -> None:
    """Or when its time is over; until then it has been asked, and says nothing."""
    with Dependency() as dependency, ThreadPoolExecutor(1) as pool:
        dependency.freeze()
        asking = pool.submit(dependent.ask, dependency.port, "a")
        eventually(lambda: dependency.calls, why="asked")
        assert not asking.done()
        dependency.thaw()
        assert asking.result(10.0)

        began = dependency.freeze(0.2)
        assert dependent.ask(dependency.port, "b")
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("name", peers.installed())
def test_a_peer_asks_all_of_its_checks(name: str) -> None:
    """Its health endpoint fails when the last of them does."""
    asked: list[str] = []

    def check(name: str, well: bool) -> bool:
        asked.append(name)
        return well

    for well in (True, False):
        app = peers.app(name, partial(check, "a", True), partial(check, "b", well))
        answer = app.test_client().get(peers.PATHS[name])
        assert (answer.status_code == 200) is well
    assert sorted(asked) == ["a", "a", "b", "b"]


def test_the_load_generator_counts_answers(port: int) -> None:
    """It tells a rate, on connections that the server keeps."""
    assert load.requests_per_second(port, "/ok", 0.1) > 0


def test_the_load_generator_refuses_other_answers(port: int) -> None:
    """A server that answers errors fast has no throughput."""
    with pytest.raises(RuntimeError, match="not answered 200"):
        load.requests_per_second(port, "/other", 5.0)
