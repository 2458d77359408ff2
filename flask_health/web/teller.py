"""Telling more than two words: JSON, the Kubernetes text form, one check, the service itself."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..model.report import Report
from . import render
from .about import About
from .details import Details
from .headers import Headers

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Answer = tuple[str, Headers, bytes]


class Teller:
    """Composes the answers of one app that are not plain.

    :param report: the report of a probe.
    """

    def __init__(
        self, report: cabc.Callable[[str], Report], details: Details, about: About
    ) -> None:
        self._report = report
        self._details = details
        self._about = about
        self._as_json = render.Encoder()

    def probe(self, probe: str, environ: WSGIEnvironment) -> Answer:
        """The answer of a probe: JSON, verbose, or the plain word."""
        query = render.parse_query(environ)
        seen = self._details.visible_to(environ)
        report = self._report(probe)
        if seen and "exclude" in query:
            report = report.excluding(query["exclude"])
        if render.wants_json(environ, query):
            about = self._about() if seen else None
            return self._as_json(report, about)
        if "verbose" in query:
            return render.verbose(report, seen)
        return render.plain(report)

    def check(self, probe: str, name: str, environ: WSGIEnvironment) -> Answer:
        """The answer of one check of a probe; not found for those who may not see it."""
        found = [r for r in self._report(probe).results if r.name == name]
        if not found or not self._details.visible_to(environ):
            return render.not_found()
        return render.check(found[0], render.wants_json(environ))

    def info(self, probe: str, environ: WSGIEnvironment) -> Answer:
        """What the service is and what it runs on; not found for those who may not see it."""
        if not self._details.visible_to(environ):
            return render.not_found()
        return render.info(self._about.info(self._report(probe)))
