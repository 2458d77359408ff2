"""What the pages for people share: who may see them, their headers, stylesheet and script.

A page is one document: it loads nothing, and the browser is told to run and to apply only what
has the hashes of our own script and stylesheet. With `?part` it is told without these two: the
script asks for that.
"""

from __future__ import annotations

import base64
import collections.abc as cabc
import functools
import hashlib
import typing as t
import urllib.parse

import jinja2
import markupsafe

from . import figures
from .details import TokenDetails
from .headers import TEXT, Headers, headers
from .render import not_found, parse_query

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Answer = tuple[str, Headers, bytes]
Seen = t.TypeVar("Seen")

HTML = "text/html; charset=utf-8"
LARGEST = 60 * 1024
"""Bytes of a page, with all that is in it."""

IN_FULL = (40, 20, 10, 5, 0)
"""How many checks, workers or the like are shown in full, as long as the page stays small."""

CHALLENGE = ("WWW-Authenticate", 'Basic realm="health", charset="UTF-8"')
SVG = "http://www.w3.org/2000/svg"

COLOURS = {
    "pass": "#1d8a5b",
    "warn": "#c98410",
    "fail": "#cf3a30",
    "wait": "#3f74b8",
    "lost": "#777",
}
SHAPES = {
    "pass": "<circle cx='8' cy='8' r='8'/>",
    "warn": "<path d='M8 0l8 16H0z'/>",
    "fail": "<path d='M0 0h16v16H0z'/>",
    "wait": "<circle cx='8' cy='8' r='5' fill='none' stroke='{colour}' stroke-width='4'/>",
    "lost": "<path d='M0 6h16v4H0z'/>",
}


class Pages:
    """Answers with pages, to those who may see details."""

    def __init__(self, details: TokenDetails) -> None:
        self._details = details

    def answer(
        self,
        environ: WSGIEnvironment,
        template: str,
        look: cabc.Callable[[], Seen],
        context: cabc.Callable[[Seen, int], cabc.Mapping[str, object]],
    ) -> Answer:
        """A page, or the refusal to show it: 404 where nobody may see details, else 401 with a
        challenge. The script gets 403: a browser would ask for a password in the middle of reading.

        :param template: a file in `templates/` that extends `base.html`, which says what it needs.
        :param look: gathers what is to be shown, once it is known that the sender may see it.
        :param context: makes of it what the template is filled with; it is told how many of a kind
            may be shown in full, and is asked again for fewer when the page becomes too large.
        """
        part = "part" in parse_query(environ)
        if not self._details.visible_to(environ):
            return not_found() if self._details.hidden_from_all else _refusal(part)
        seen, filled = look(), environment().get_template(template)
        for most in IN_FULL:
            body = filled.render(context(seen, most), part=part).encode("utf-8", "replace")
            if len(body) <= LARGEST:
                break
        return "200 OK", [*headers(HTML, len(body)), *_security()], body


def _refusal(part: bool) -> Answer:
    body = b"This page is for those who may see details; the password: what HEALTH_TOKEN holds.\n"
    if part:
        return "403 Forbidden", headers(TEXT, len(body)), body
    return "401 Unauthorized", [*headers(TEXT, len(body)), CHALLENGE], body


@functools.cache
def environment() -> jinja2.Environment:
    """The templates. An environment of our own: the app's may be changed at will."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("flask_health.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= figures.FILTERS
    found.globals |= {
        "style": markupsafe.Markup(_source(found, "style.css")),
        "script": markupsafe.Markup(_source(found, "script.js")),
        "icons": {tone: _icon(tone) for tone in COLOURS},
    }
    return found


def _source(found: jinja2.Environment, name: str) -> str:
    assert found.loader
    return found.loader.get_source(found, name)[0]


def _icon(tone: str) -> str:
    """The address of an icon for the tab, which differs in shape as well."""
    colour = COLOURS[tone]
    drawn = SHAPES[tone].format(colour=colour)
    svg = f"<svg xmlns='{SVG}' viewBox='0 0 16 16' fill='{colour}'>{drawn}</svg>"
    return "data:image/svg+xml," + urllib.parse.quote(svg, safe="' =:/")


@functools.cache
def _security() -> Headers:
    """What the browser may do with a page: show it, ask its own server anew, and nothing else."""
    told = environment().globals
    policy = {
        "default-src": "'none'",
        "script-src": _hash(str(told["script"])),
        "style-src": _hash(str(told["style"])),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return [
        ("Content-Security-Policy", "; ".join(f"{what} {of}" for what, of in policy.items())),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
