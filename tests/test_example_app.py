"""The example service: how it ranks, what it answers, and that it starts up as it promises."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.gunicorn import Gunicorn, Serve
from support.waiting import eventually

EXAMPLE = Path(__file__).resolve().parent.parent / "example_app.py"

LIBRARY = {
    "json/__init__.py": '''
"""Data in the JSON format.

Nothing else."""
def loads(s):
    """Parses a string."""
def dumps(obj):
    """Makes a string."""
class Decoder:
    """Decodes."""
    async def decode(self):
        """Decodes more."""
    def _scan(self):
        """Hidden."""
''',
    "json/tool.py": '"""A tool."""\nraise SystemExit("this module must not run")',
    "broken.py": "def (",
    "silent.py": "def f(): pass",
    "test/test_json.py": '"""Tests of JSON."""',
    "site-packages/other.py": '"""Not of the standard library."""',
}


def write_library(folder: Path) -> Path:
    """Write a tiny standard library; returns its place."""
    for name, source in LIBRARY.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return folder


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, freshly imported, with a tiny standard library and its own temporary files."""
    spec = importlib.util.spec_from_file_location("example_app", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example_app", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STDLIB", write_library(tmp_path / "test" / "lib"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    module.app.testing = True
    return module


@pytest.fixture
def client(example: ModuleType) -> FlaskClient:
    """A client of the example; its first request waits for the setup."""
    client: FlaskClient = example.app.test_client()
    return client


def names(example: ModuleType, query: str, *entries: tuple[str, str, str], limit: int = 10) -> Any:
    """The names that a query finds among these entries (name, topic, text), best first."""
    index = example.Index()
    for entry in entries:
        index.add(example.Entry(*entry))
    return [name for _, name in index.search(query, limit)]


# ranking


def test_more_words_of_the_query_rank_higher(example: ModuleType) -> None:
    """An entry with both words of a query is better than one with either of them."""
    found = names(
        example, "red apple", ("a", "", "red wine"), ("b", "", "red apple"), ("c", "", "apple pie")
    )
    assert found[0] == "b" and set(found) == {"a", "b", "c"}


def test_a_rare_word_outweighs_a_common_one(example: ModuleType) -> None:
    """A word that most entries have says little about any of them."""
    common = [(f"m{number}", "", "return value") for number in range(9)]
    assert names(example, "return gzip", *common, ("z", "", "gzip value"))[0] == "z"


def test_repeating_a_word_helps_less_each_time(example: ModuleType) -> None:
    """One occurrence of both words beats many occurrences of one of them."""
    entries = ("a", "", "lock " * 40), ("b", "", "lock thread " + "and so on " * 13)
    assert names(example, "thread lock", *entries) == ["b", "a"]


def test_a_short_text_ranks_higher(example: ModuleType) -> None:
    """Of two texts that have the word once, the shorter one is more about it."""
    long, short = ("a", "", "a lock " + "and other things " * 20), ("b", "", "a lock")
    assert names(example, "lock", long, short) == ["b", "a"]


def test_a_name_counts_more_than_a_mention(example: ModuleType) -> None:
    """What is called like the query comes before what mentions it."""
    entries = ("a.b", "", "splits like shlex"), ("shlex.split", "", "splits like others")
    assert names(example, "shlex", *entries) == ["shlex.split", "a.b"]


def test_the_topic_of_a_module_finds_what_is_in_it(example: ModuleType) -> None:
    """`re.sub` need not say "regular expression" if its module does."""
    entries = (
        ("str.replace", "Text", "replaces a part"),
        ("re.sub", "Regular expressions", "replaces a part"),
    )
    assert names(example, "regular expression replace", *entries) == ["re.sub", "str.replace"]


def test_repeating_a_word_in_the_query_changes_nothing(example: ModuleType) -> None:
    """Each word of a query counts once."""
    index = example.Index()
    for text in ("lock", "thread", "lock thread"):
        index.add(example.Entry("a", "", text))
    assert index.search("lock lock thread", 3) == index.search("lock thread", 3)


def test_at_most_limit_entries_are_found(example: ModuleType) -> None:
    """The best ones stay, the order among equals is the order of adding."""
    entries = [(f"m{number}", "", "same text") for number in range(5)]
    assert names(example, "text", *entries, limit=3) == ["m0", "m1", "m2"]


@pytest.mark.parametrize("query", ["unknown", "", "??"])
def test_nothing_is_found_without_a_known_word(example: ModuleType, query: str) -> None:
    """No match is an empty list, in a filled and in an empty index."""
    assert names(example, query, ("a", "", "text")) == []
    assert names(example, query) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("os.path.join", ["os", "path", "join"]),
        ("read_csv_rows", ["read", "csv", "row"]),
        ("csv.DictReader", ["csv", "dictread", "dict", "read"]),
        ("HTTPServer", ["httpserv", "http", "serv"]),
        ("JSON utf8", ["json", "utf8", "utf", "8"]),
        ("b64decode", ["b64decod", "b", "64", "decod"]),
        ("parse parser parsing parsed", ["pars"] * 4),
        ("replace replaces replacing replacement", ["replac"] * 4),
        ("class classes process processes", ["class", "class", "process", "process"]),
        ("string strings file files", ["string", "string", "file", "file"]),
        ("für größere", ["für", "größer"]),
        ("?!_", []),
    ],
)
def test_words(example: ModuleType, text: str, words: list[str]) -> None:
    """Names fall into their parts, and endings are cut off."""
    assert list(example.split_words(text)) == words


# the database


def test_docstrings_are_read_and_nothing_runs(example: ModuleType) -> None:
    """Public docstrings with dotted names and their module's topic; no tests, no packages."""
    example.collect_docstrings()
    topic = "Data in the JSON format."
    assert example.read_entries() == [
        ("json", topic, "Data in the JSON format.\n\nNothing else."),
        ("json.loads", topic, "Parses a string."),
        ("json.dumps", topic, "Makes a string."),
        ("json.Decoder", topic, "Decodes."),
        ("json.Decoder.decode", topic, "Decodes more."),
        ("json.tool", "A tool.", "A tool."),
    ]


def test_a_python_without_sources_is_an_error(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The setup fails with the place that was searched."""
    monkeypatch.setattr(example, "STDLIB", tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        example.collect_docstrings()


def test_of_two_docstrings_with_one_name_the_first_counts(example: ModuleType) -> None:
    """Such as those of a property and its setter: the index and the database agree on one."""
    example.write_database([("a", "", "getter"), ("a", "", "setter"), ("b", "", "other")])
    assert example.read_entries() == [("a", "", "getter"), ("b", "", "other")]


def test_the_database_is_private(example: ModuleType) -> None:
    """Other users can neither read nor replace it."""
    example.write_database([])
    assert stat.S_IMODE(example.database_file().parent.stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_refused(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read from a place that somebody else has prepared."""
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(PermissionError, match="TMPDIR"):
        example.database_file()


def test_a_symbolic_link_of_another_user_is_refused(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The owner of the link counts, not the owner of what it points to."""
    stranger = os.geteuid() + 1
    link = tmp_path / "tmp" / f"flask-health-example-{stranger}"
    link.symlink_to(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    real = Path.stat

    def theirs_at_the_end(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(self, follow_symlinks=follow_symlinks)
        return os.stat_result([*found[:4], stranger, *found[5:]]) if follow_symlinks else found

    monkeypatch.setattr(Path, "stat", theirs_at_the_end)
    assert link.stat().st_uid == stranger
    with pytest.raises(PermissionError, match="TMPDIR"):
        example.database_file()


def test_a_full_disk_keeps_the_old_database(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write is an error, changes nothing and leaves nothing behind."""
    old = [("old", "", "text")]
    example.write_database(old)
    connect = sqlite3.connect

    def full(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        example.write_database([("new", "", "text" * 10_000)])
    assert example.read_entries() == old
    assert list(example.database_file().parent.iterdir()) == [example.database_file()]


def test_a_reader_never_sees_half_a_database(example: ModuleType) -> None:
    """Who has opened the old file reads it to the end while a new one takes its place."""
    example.write_database([("old", "", "text")])
    with closing(example.open_database()) as opened:
        assert opened.execute("SELECT name FROM docstrings").fetchone() == ("old",)
        example.write_database([("new", "", "text")])
        assert opened.execute("SELECT name FROM docstrings").fetchone() == ("old",)
    assert example.read_entries() == [("new", "", "text")]


def test_who_reads_cannot_write(example: ModuleType) -> None:
    """No request, and no check, changes the database, nor creates one where it is lost."""
    example.write_database([])
    with closing(example.open_database()) as opened, pytest.raises(sqlite3.Error, match="readonly"):
        opened.execute("DELETE FROM docstrings")
    example.database_file().unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        example.open_database()
    assert not example.database_file().exists()


def cut(file: Path) -> None:
    """Keeps the first half of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def scribble(file: Path) -> None:
    """Writes over the beginning of a file."""
    with file.open("r+b") as opened:
        opened.write(b"not a database any more")


def empty(file: Path) -> None:
    """Keeps nothing of a file but its name."""
    file.write_bytes(b"")


DAMAGES = [Path.unlink, cut, scribble, empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lost_or_damaged_database_is_filled_again(
    example: ModuleType, damage: Callable[[Path], None]
) -> None:
    """A worker that starts later than the server does not depend on a temporary file."""
    example.collect_docstrings()
    damage(example.database_file())
    with pytest.raises(sqlite3.Error):
        example.read_entries()
    example.build_index()
    assert len(example.index.names) == len(example.read_entries()) == 6


def test_the_check_counts_the_docstrings(example: ModuleType) -> None:
    """On a connection like that of a search; the number is its observed value."""
    example.collect_docstrings()
    assert example.database() == (6, "docstrings")


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_check_notices_damage(example: ModuleType, damage: Callable[[Path], None]) -> None:
    """A database that a search could not read does not pass."""
    example.collect_docstrings()
    damage(example.database_file())
    with pytest.raises(sqlite3.Error):
        example.database()


def test_progress_is_reported(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both steps say how far they are, from 0 to less than 1, and at what."""
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(example.health, "progress", lambda *args: told.append(args))
    example.collect_docstrings()
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(set(fractions)) and fractions[0] == 0 and fractions[-1] < 1
    assert {note for _, note in told} == {"__init__.py", "tool.py", "broken.py", "silent.py"}
    told.clear()
    example.build_index()
    assert told == [(0.0, "json")]


# the routes


def test_usage(client: FlaskClient) -> None:
    """`/` is plain text that says how to search."""
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert "/search?q=" in answer.text


def test_search(client: FlaskClient) -> None:
    """The best match comes first, with its score and the first line of its text."""
    answer = client.get("/search?q=parse+json+string")
    assert answer.status_code == 200 and answer.json
    assert (answer.json["query"], answer.json["worker"]) == ("parse json string", os.getpid())
    best, *others = answer.json["results"]
    assert (best["name"], best["summary"]) == ("json.loads", "Parses a string.")
    assert best["score"] > max(other["score"] for other in others) > 0


def test_search_without_a_match(client: FlaskClient) -> None:
    """No match is an answer, not an error."""
    answer = client.get("/search?q=unheard-of")
    assert (answer.status_code, answer.json and answer.json["results"]) == (200, [])


@pytest.mark.parametrize(("limit", "found"), [("1", 1), ("2", 2), ("50", 6)])
def test_limit(client: FlaskClient, limit: str, found: int) -> None:
    """`limit` is the largest number of results."""
    answer = client.get(f"/search?q=json&limit={limit}")
    assert answer.json and len(answer.json["results"]) == found


@pytest.mark.parametrize("query", ["", "?q=", "?q=+", "?q=%3F!", "?query=json"])
def test_a_missing_query_is_an_error(client: FlaskClient, query: str) -> None:
    """Without a word to search for the answer is 400 and names the parameter."""
    answer = client.get(f"/search{query}")
    assert answer.status_code == 400 and answer.json and "'q'" in answer.json["error"]


@pytest.mark.parametrize("limit", ["0", "51", "-1", "1.5", "ten", "", "9" * 5000, "²"])
def test_a_bad_limit_is_an_error(client: FlaskClient, limit: str) -> None:
    """A limit that is no whole number from 1 to 50 is answered with 400 and the bounds."""
    answer = client.get("/search", query_string={"q": "json", "limit": limit})
    assert answer.status_code == 400 and answer.json
    assert "'limit'" in answer.json["error"] and "1 to 50" in answer.json["error"]


# the real thing

TOP = {
    "parse json string": "json.loads",
    "regular expression replace": "re.sub",
    "thread lock": "threading.RLock",
    "read csv rows": "csv",
    "copy file": "shutil.copy",
}


def test_served_by_gunicorn(tmp_path: Path, serve: Serve) -> None:
    """From "not ready" to "ok" with two workers: one collects, both index, none answers early."""
    home = tmp_path / "server"
    home.mkdir()
    shutil.copy(EXAMPLE, home)
    server = serve("example_app:app", workers=2, home=home)
    with server.prober() as health, server.prober("/search?q=temporary+file") as search:
        ok = server.answers(200, within=90.0)
        answers = check_results(server)
        eventually(lambda: health.first(200), why="the prober sees it too")
        later = eventually(lambda: search.since(ok.at + ok.took), lambda seen: len(seen) >= 20)
    assert {seen.answer for seen in health.seen} == {(503, "not ready"), (200, "ok")}
    assert health.flips() == 0
    assert search.codes() == {503, 200}
    assert {seen.code for seen in later} == {200}
    found = {seen.json()["results"][0]["name"] for seen in search.seen if seen.code == 200}
    assert len(found) == 1 and found.pop().startswith("tempfile.")
    assert answers == set(server.workers())
    assert server.log().count("has filled") == 1
    assert server.log().count("has indexed") == 2
    assert [file.suffix for file in home.glob("tmpdir/flask-health-example-*/*")] == [".sqlite"]


def check_results(server: Gunicorn) -> set[int]:
    """Searches until both workers have answered; returns their process ids."""
    workers: set[int] = set()

    def all_found() -> bool:
        for query, wanted in TOP.items():
            seen = server.get(f"/search?q={query.replace(' ', '+')}&limit=3")
            assert seen.code == 200, seen
            assert wanted in [result["name"] for result in seen.json()["results"]]
            workers.add(seen.json()["worker"])
        return len(workers) == 2

    eventually(all_found, why="both workers answer")
    return workers


TOKEN = {"Authorization": "Bearer s3cret"}
ACCESS = ("--access-logfile", "-", "--access-logformat", "answered %(p)s %(s)s %(U)s")
NOTICED = 4.0  # seconds within which the check `database` turns the probes red
TINY = """
from pathlib import Path
import example_app

example_app.STDLIB = Path(__file__).parent / "lib"
app = example_app.app
"""


@pytest.fixture
def server(tmp_path: Path, serve: Serve) -> Gunicorn:
    """The example with a tiny standard library, served by four workers that are ready."""
    home = tmp_path / "server"
    write_library(home / "lib")
    shutil.copy(EXAMPLE, home)
    (home / "tiny.py").write_text(TINY)
    env = {"FLASK_HEALTH_TOKEN": "s3cret"}
    server: Gunicorn = serve("tiny:app", *ACCESS, workers=4, home=home, env=env)
    server.answers(200)
    return server


def its_database(server: Gunicorn) -> Path:
    """The file of the server's database."""
    (file,) = server.home.glob("tmpdir/flask-health-example-*/*.sqlite")
    return file


def all_answer(server: Gunicorn, code: int) -> None:
    """Wait until every worker answers `/health` with this code, and go on to do so."""
    everyone = {str(pid): str(code) for pid in server.workers()}
    asked = len(server.log())

    def last() -> dict[str, str]:
        return dict(re.findall(r"answered <(\d+)> (\d+) /health$", server.log()[asked:], re.M))

    with server.prober(every=0.005, threads=4) as prober:
        eventually(last, everyone.__eq__, why="every worker answers that")
        settled = time.monotonic()
        prober.sees(50)
    assert prober.codes(since=settled) == {code}


def details(server: Gunicorn, until: str) -> dict[str, object]:
    """Wait until the holder of the token reads this of the check; returns its members."""
    path = "/health/ready/database?format=json"
    seen = eventually(lambda: server.get(path, headers=TOKEN), lambda seen: until in seen.body)
    members: dict[str, object] = seen.json()
    return members


def move_away(file: Path) -> None:
    """Leaves no file there."""
    file.rename(file.with_suffix(".away"))


@pytest.mark.matrix
@pytest.mark.parametrize("damage", [move_away, cut, scribble])
def test_every_worker_tells_of_a_lost_database(
    server: Gunicorn, damage: Callable[[Path], None]
) -> None:
    """From "ok" to "not ready" in all four, in time, and back as soon as it is restored."""
    file = its_database(server)
    content = file.read_bytes()
    all_answer(server, 200)
    damage(file)
    lost = time.monotonic()
    red = server.answers(503)
    assert red.at + red.took - lost < NOTICED
    all_answer(server, 503)
    assert server.get("/health/live").answer == (200, "ok")
    file.write_bytes(content)
    all_answer(server, 200)
    assert server.get("/search?q=json").code == 200


@pytest.mark.matrix
def test_what_needs_no_database_is_served_without_one(server: Gunicorn) -> None:
    """Readiness is for the load balancer: a request that comes is answered if it can be."""
    move_away(its_database(server))
    all_answer(server, 503)
    assert server.get("/").code == 200
    assert server.get("/search?q=unheard-of").code == 500
    assert server.get("/search?q=").code == 400


@pytest.mark.matrix
def test_only_who_may_see_it_is_told_what_is_lost(server: Gunicorn) -> None:
    """The reason is for those with the token; everybody else gets the same code, and no name."""
    move_away(its_database(server))
    all_answer(server, 503)
    stranger = server.get("/health?verbose")
    assert stranger.answer == (503, "health check failed\n")
    assert server.get("/health?format=json").answer == (503, '{"status": "fail"}')
    assert server.get("/health/ready/database").code == 404
    told = details(server, until="OperationalError: unable to open database file")
    assert (told["status"], told["critical"]) == ("fail", True)
    assert "check 'database': pass -> fail OperationalError" in server.log()
    assert server.get("/health/ready/disk", headers=TOKEN).code == 200


@pytest.mark.matrix
def test_a_reload_makes_a_new_database(server: Gunicorn) -> None:
    """What was lost is collected again, and nobody has to know where it was."""
    its_database(server).unlink()
    all_answer(server, 503)
    server.signal(signal.SIGHUP)
    server.answers(200)
    server.answers(200, "/search?q=json")
    told = details(server, until='"pass"')
    assert (told["observedValue"], told["observedUnit"]) == (6, "docstrings")
