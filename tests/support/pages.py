"""Pages for people, as a test reads them: parsed as strictly as the standard allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import html5lib

from support.local import Answer, call

SVG = "{http://www.w3.org/2000/svg}"


class Document:
    """A page; AssertionError for HTML that is not valid."""

    def __init__(self, answer: Answer) -> None:
        assert answer.code == 200, answer
        parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
        self.root: Element = parser.parse(answer.body.decode())
        self.size = len(answer.body)

    def all(self, name: str, kind: str = "") -> list[Element]:
        """Return the elements of that name, and class, in order."""
        found = (e for e in self.root.iter() if e.tag == name or e.tag == SVG + name)
        return [e for e in found if not kind or kind in e.get("class", "").split()]

    def at(self, name: str) -> Element:
        """Return the element with that id."""
        (found,) = (e for e in self.root.iter() if e.get("id") == name)
        return found

    def says(self, name: str) -> str:
        """Return the text of the element with that id, as it is read."""
        return text(self.at(name))

    def rows(self) -> list[list[str]]:
        """Return the cells of the table of checks."""
        (table,) = self.all("tbody")
        return [[text(cell) for cell in row] for row in table]


def text(element: Element) -> str:
    """Return the text of an element: its pieces apart, each blank once."""
    return " ".join(" ".join(element.itertext()).split())


def attributes(element: Element) -> Iterator[tuple[str, str]]:
    """Yield every attribute of an element and of all below it."""
    for each in element.iter():
        yield from ((str(name), value) for name, value in each.attrib.items())


def look(app: Any, path: str = "/health/ui", **more: Any) -> Document:
    """Ask an app for a page."""
    return Document(call(app, path, **more))
