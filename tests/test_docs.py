"""The pages: snippets run, tables say what the code says, links lead somewhere."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import doctest
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import flask_health
from flask_health import checks, config
from flask_health.model.server import parse_marker
from flask_health.workers.registering import RESERVED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NO_RUN = re.compile(r"<!-- no-run: (.+) -->\s*$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


class Snippet(NamedTuple):
    """A fenced block of a page; `why_not` is the reason why it is not run, if it is not."""

    language: str
    text: str
    line: int
    why_not: str


def snippets(page: Path) -> Iterator[Snippet]:
    """Yield the fenced blocks of a page, in order.

    A comment `<!-- no-run: reason -->` before a block keeps it from being run.
    """
    text = page.read_text()
    for fence in FENCE.finditer(text):
        before = text[: fence.start()]
        why_not = NO_RUN.search(before)
        line = before.count("\n") + 1
        yield Snippet(fence[1], fence[2], line, why_not[1] if why_not else "")


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def rows(page: Path, first: str) -> list[list[str]]:
    """Return the cells of every table row of a page whose first cell matches `first`."""
    lines = [line for line in prose(page).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if re.fullmatch(first, row[0])]


def headings(page: Path) -> list[str]:
    """Return the text of every heading of a page."""
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    found: set[str] = set()
    for heading in headings(page):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = sum(name == slug or name.startswith(f"{slug}-") for name in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module for the snippets of one page to run in."""
    module = ModuleType("page")
    module.__file__ = str(tmp_path / "page.py")
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, module: ModuleType) -> None:
    """The Python of a page runs from top to bottom, and its examples give what they show."""
    for snippet in snippets(page):
        where = f"{page.name}:{snippet.line}"
        if snippet.language == "python":
            code = compile("\n" * snippet.line + snippet.text, where, "exec")
            if not snippet.why_not:
                exec(code, vars(module))
        if snippet.language == "pycon" and not snippet.why_not:
            parser = doctest.DocTestParser()
            test = parser.get_doctest(snippet.text, vars(module), where, str(page), snippet.line)
            report: list[str] = []
            result = doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
            vars(module).update(test.globs)
            assert not result.failed, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a page or a heading of this project has a target."""
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.is_relative_to(ROOT), target
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_private_place(page: Path) -> None:
    """No page shows a directory of the machine that it was written on."""
    private = ["/home/", "/root/", "/Users/", ".pyenv/"]
    if len(ROOT.parts) > 2:  # not "/app", which a page may well name
        private.append(str(ROOT))
    assert not [place for place in private if place in page.read_text()]


def test_every_page_is_listed() -> None:
    """The first page leads to all others."""
    targets = LINK.findall(prose(DOCS / "index.md"))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= set(targets)


def test_every_key_is_documented() -> None:
    """The table of keys is the configuration: names, order, defaults, and what is right."""
    table = rows(DOCS / "configuration.md", r"`HEALTH_\w+`")
    fields = {name: getattr(config.Config, name) for name in config.PARSERS}
    assert [row[0].strip("`") for row in table] == [f"HEALTH_{name.upper()}" for name in fields]
    for (key, default, right, meaning), (name, value) in zip(table, fields.items(), strict=True):
        assert shown_default(value) in (default, ""), key
        assert bool(default) and ("`" in default) is (value is not None), key
        assert right == what_is_right(name), key
        assert meaning, key


def shown_default(value: object) -> str:
    """Return how the table shows a default; empty for one that is found or absent."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def what_is_right(name: str) -> str:
    """Return the words in which the parser of a key refuses a value."""
    with pytest.raises(config.Wrong) as refused:
        config.PARSERS[name](object())
    return str(refused.value)


def shown_signature(function: object) -> str:
    """Return a signature as the pages show it: no types, no `self`, no `/`."""
    assert callable(function)
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    shown = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return shown.replace("/, ", "").replace(", /", "").replace("'", '"')


def test_every_name_is_documented() -> None:
    """The API's page has a heading for each public name, with its signature."""
    shown = "\n".join(headings(DOCS / "api.md"))
    text = (DOCS / "api.md").read_text()
    assert not [name for name in flask_health.__all__ if f"`{name}" not in text]
    extension = flask_health.HealthCheck
    assert f"`HealthCheck{shown_signature(extension)}`" in shown
    public = {name: value for name, value in vars(extension).items() if not name.startswith("_")}
    expected = {
        name if isinstance(value, property) else f"{name}{shown_signature(value)}"
        for name, value in public.items()
    }
    told = set(re.findall(r"^`([a-z].*)`$", shown, re.MULTILINE)) - {"status_changed"}
    assert {name for name in told if not name.startswith("flask_health.")} == expected


def test_every_field_of_a_report_is_documented() -> None:
    """The API's page has a row for each field of a report, in order, and for what is read later."""
    fields = [field.name for field in dataclasses.fields(flask_health.Report) if field.repr]
    fields.append("traffic")
    text = prose(DOCS / "api.md")
    section = text[text.index("\n## `Report`") : text.index("\n## `Result`")]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == fields


def test_every_reserved_name_is_documented() -> None:
    """The API's page lists the names that a step cannot have."""
    text = prose(DOCS / "api.md")
    sentence = re.search(r"Some names are reserved: ([^.]+)\.", text)
    assert sentence
    assert re.findall(r"`(\w+)`", sentence[1]) == sorted(RESERVED)


@pytest.mark.parametrize("name", checks.__all__)
def test_every_ready_made_check_is_documented(name: str) -> None:
    """Their page says of each check what it observes, and names every argument that it takes."""
    page = DOCS / "ready-made-checks.md"
    assert rows(page, rf"`{name}\(.*\)`")
    told = " ".join(row[1] for row in rows(page, f"`{name}`"))
    for argument in inspect.signature(getattr(checks, name)).parameters:
        assert f"`{argument}`" in told, argument


def test_markers_that_pages_show_are_markers() -> None:
    """Every file name of a marker in a listing is one that the code reads."""
    shown = re.findall(r"^worker\.\S+$", (DOCS / "state-directory.md").read_text(), re.MULTILINE)
    assert shown
    assert all(parse_marker(name) for name in shown)


def defined_tests(module: str) -> set[str]:
    """Return the names of the test functions in a module of this directory."""
    path = ROOT / "tests" / module
    if not path.exists():
        return set()
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    """A test that a page names as a proof is there."""
    for module, name in NAMED_TEST.findall(page.read_text()):
        assert name in defined_tests(module), f"{module}::{name}"


def test_every_situation_has_a_proof() -> None:
    """Each row of the reliability page names a test, or leads to the page that does."""
    table = [row for row in rows(DOCS / "reliability.md", r".+") if "---" not in row[0]]
    situations = [row for row in table if row[0] != "situation"]
    assert len(situations) > 50
    for row in situations:
        assert len(row) == 3, row
        assert NAMED_TEST.search(row[2]) or LINK.search(row[1]), row[0]


def test_the_changes_begin_with_this_version() -> None:
    """The first section of the changes is about the version in the metadata."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert headings(ROOT / "CHANGES.md")[1] == f"Version {setup['metadata']['version']}"
