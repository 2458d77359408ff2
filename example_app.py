"""A search engine for the documentation of Python's standard library, in one file.

    gunicorn -w 4 example_app:app

It has work to do before it can answer, in two setup steps: `collect_docstrings` fills a SQLite
database, once per server, in one worker, while the others wait; `build_index` then runs in every
worker. Until the last of them has finished, `/health` answers 503 "not ready", whichever worker
is asked; from then on they all answer 200 "ok". No request meets an unfinished index.

Every search reads the database. When it is lost or damaged the check `database` notices, and
`/health` answers 503 again, in all workers, until it is back: `kill -HUP` collects it anew.
"""

from __future__ import annotations

import ast
import heapq
import logging
import math
import os
import platform
import re
import sqlite3
import sysconfig
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from flask_health import HealthCheck
from flask_health.checks import disk

app = Flask(__name__)
app.logger.setLevel(logging.INFO)
health = HealthCheck(app)

index: Index  # of this worker: `build_index` sets it before the gate lets a request in
MAX_LIMIT = 50


@health.setup(scope="server", timeout=120.0)
def collect_docstrings() -> None:
    """Collects the docstrings of the standard library in a database for all workers."""
    sources = find_sources()
    entries: list[Entry] = []
    for number, source in enumerate(sources):
        health.progress(number / len(sources), source.name)
        entries += read_docstrings(source)
    if not entries:
        raise RuntimeError(f"this Python comes without sources: no docstrings in {STDLIB}")
    write_database(entries)
    app.logger.info("worker %d has filled %s for all", os.getpid(), database_file())


@health.setup
def build_index() -> None:
    """Builds the full-text index in the memory of this worker."""
    global index
    try:
        entries = read_entries()
    except sqlite3.Error as error:  # a worker may start weeks later, when /tmp has been cleaned
        app.logger.warning("the database is lost or damaged, filling it again: %r", error)
        collect_docstrings()
        entries = read_entries()
    new = Index()
    for number, entry in enumerate(entries):
        if number % 100 == 0:
            health.progress(number / len(entries), entry.name)
        new.add(entry)
    index = new
    app.logger.info("worker %d has indexed %d docstrings", os.getpid(), len(entries))


@health.check(interval=2.0, retry_interval=0.5, timeout=1.0)
def database() -> tuple[int, str]:
    """Counts the docstrings, which no search can do without: 503 within 4 s when they are lost."""
    with closing(open_database()) as docstrings:
        (count,) = docstrings.execute("SELECT count(*) FROM docstrings").fetchone()
    return count, "docstrings"


# What is written is there already, so a full disk is warned of, with 200: the next start needs it.
health.add_check("disk", disk(tempfile.gettempdir()), critical=False)


@app.get("/")
def usage() -> Response:
    """Says how to ask."""
    text = f"""Search the documentation of Python {platform.python_version()}:
    /search?q=parse+json+string    the ten best matches, as JSON
    /search?q=csv&limit=3          the three best; at most {MAX_LIMIT}
    /health                        "ok" once every worker has built its index, and while
                                   the database can be read\n"""
    return Response(text, mimetype="text/plain")


@app.get("/search")
def search() -> ResponseReturnValue:
    """The docstrings that match `q`, best first, and the worker that answers."""
    query, limit = request.args.get("q", ""), request.args.get("limit", "10")
    if not any(split_words(query)):
        return {"error": "'q' must contain a word, as in /search?q=parse+json+string"}, 400
    if limit not in map(str, range(1, MAX_LIMIT + 1)):
        return {"error": f"'limit' must be a whole number from 1 to {MAX_LIMIT}"}, 400
    found = index.search(query, int(limit))
    with closing(open_database()) as docstrings:
        results = [
            {"name": name, "score": round(score, 2), "summary": first_line(text)}
            for score, name in found
            for (text,) in docstrings.execute("SELECT text FROM docstrings WHERE name = ?", [name])
        ]
    return {"query": query, "results": results, "worker": os.getpid()}


# The docstrings: where they come from, and the database in which workers share them.

STDLIB = Path(sysconfig.get_path("stdlib"))
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """A docstring, the dotted name it belongs to, and the first line of its module's."""

    name: str
    topic: str
    text: str


def find_sources() -> list[Path]:
    """The source files of the standard library, without its tests and applications."""
    files = sorted(STDLIB.rglob("*.py"))
    return [file for file in files if SKIPPED.isdisjoint(file.relative_to(STDLIB).parts)]


def read_docstrings(source: Path) -> list[Entry]:
    """The docstrings in a file. It is parsed, not imported: none of its code runs."""
    try:
        module = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    name = ".".join(source.relative_to(STDLIB).with_suffix("").parts).removesuffix(".__init__")
    return list(walk(module, name, topic=first_line(ast.get_docstring(module) or "")))


def walk(node: ast.Module | Definition, name: str, topic: str) -> Iterator[Entry]:
    """The docstrings of a module or definition and of all public definitions in it."""
    if text := ast.get_docstring(node):
        yield Entry(name, topic, text)
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield from walk(child, f"{name}.{child.name}", topic)


def first_line(text: str) -> str:
    """The first line of a docstring, which sums it up."""
    return text.partition("\n")[0]


def database_file() -> Path:
    """The file for this user and version of Python; several servers may share it."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    folder = Path(tempfile.gettempdir(), f"flask-health-example-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != user:  # anyone can create that name in /tmp before us
        raise PermissionError(f"{folder} belongs to another user: set TMPDIR to another place")
    return folder / f"docstrings-{platform.python_version()}.sqlite"


def write_database(entries: Iterable[Entry]) -> None:
    """Writes the file as a whole: nobody reads half of it, and a failure leaves no rest."""
    file = database_file()
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        unfinished = Path(folder, file.name)
        with closing(sqlite3.connect(unfinished)) as new, new:
            new.execute("CREATE TABLE docstrings (name TEXT PRIMARY KEY, topic TEXT, text TEXT)")
            new.executemany("INSERT OR IGNORE INTO docstrings VALUES (?, ?, ?)", entries)
        unfinished.replace(file)


def open_database() -> sqlite3.Connection:
    """A connection that reads. A lost database is an error: SQLite would create an empty one."""
    return sqlite3.connect(f"{database_file().as_uri()}?mode=ro", uri=True)


def read_entries() -> list[Entry]:
    """All docstrings, in the order in which they were collected."""
    with closing(open_database()) as docstrings:
        rows = docstrings.execute("SELECT name, topic, text FROM docstrings ORDER BY rowid")
        return [Entry(*row) for row in rows]


# The index: which entries a word is in, and how well they answer a query.

NAME_WEIGHT = 5  # a word of the name counts like five of the text
SATURATION, LENGTH_PENALTY = 1.5, 0.4  # BM25's k1 and b
WORD = re.compile(r"[^\W_]+")
JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\D)(?=\d)|(?<=\d)(?=\D)")
ENDING = re.compile(r"(?<=\w{4})(?:ement|ing|ed|er|es|e)$|(?<=\w{3})(?<!s)s$")


def split_words(text: str) -> Iterator[str]:
    """The words of a text or a name: `csv.DictReader` gives csv, dictread, dict, read.

    Endings are cut off, so that a search for "parse" also finds "parser" and "parsing".
    """
    for word in WORD.findall(text):
        parts = JOINT.split(word)
        for part in [word, *parts] if len(parts) > 1 else [word]:
            yield ENDING.sub("", part.lower())


class Index:
    """A full-text index with BM25 ranking: add all entries, then search."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lengths = array("I")
        # For each word: entry number, occurrences, entry number, occurrences ... 4 bytes each.
        self.postings: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))

    def add(self, entry: Entry) -> None:
        """Adds an entry under the words of its name, its text and its module's topic."""
        words = Counter(split_words(f"{entry.topic}\n{entry.text}"))
        for word in split_words(entry.name):
            words[word] += NAME_WEIGHT
        for word, count in words.items():
            self.postings[word].extend((len(self.names), count))
        self.names.append(entry.name)
        self.lengths.append(words.total())

    def search(self, query: str, limit: int) -> list[tuple[float, str]]:
        """The names of the `limit` entries that match best, best first, after their scores."""
        scores: defaultdict[int, float] = defaultdict(float)
        mean = sum(self.lengths) / max(len(self.lengths), 1)
        for word in dict.fromkeys(split_words(query)):
            found = self.postings.get(word, array("I"))
            rarity = math.log((len(self.names) + 1) / (len(found) / 2 + 0.5))
            for number, count in zip(found[::2], found[1::2], strict=True):
                penalty = 1 + LENGTH_PENALTY * (self.lengths[number] / mean - 1)
                scores[number] += rarity * count / (count + SATURATION * penalty)
        best = heapq.nlargest(limit, scores, key=lambda number: scores[number])
        return [(scores[number], self.names[number]) for number in best]
