"""Telling more than two words: JSON, the Kubernetes text form, one check, the service itself."""

from __future__ import annotations

import collections.abc as cabc
import functools
import logging
import typing as t

from ..model.report import Report
from . import render
from .about import About
from .details import TokenDetails
from .headers import Headers

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from prometheus_client.metrics_core import Metric

    from ..fleet.member import Member
    from ..model.measures import Measures
    from ..workers.overview import Overview
    from .fleet import FleetTeller
    from .page import StatusPage

log: logging.Logger = logging.getLogger("flask_health")

Answer = tuple[str, Headers, bytes]

MISSING = "metrics need the extra 'prometheus': pip install Flask-Health[prometheus]"


class Teller:
    """Composes the answers of one app that are not plain.

    :param report: the report of a probe.
    :param measure: what is told in numbers.
    :param overview: what the status page shows.
    :param member: the server in its fleet; None without one.
    """

    def __init__(
        self,
        report: cabc.Callable[[str], Report],
        measure: cabc.Callable[[], Measures],
        overview: cabc.Callable[[], Overview],
        details: TokenDetails,
        about: About,
        member: cabc.Callable[[], Member | None],
    ) -> None:
        self._report = report
        self._measure = measure
        self._overview = overview
        self._details = details
        self._about = about
        self._member = member
        self._as_json = render.Encoder()
        self._complained = False

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
        report = self._report(probe)
        members = self._about.info(report)
        if report.traffic:
            members["traffic"] = render.describe_traffic(report.traffic)
        return render.info(members)

    def metrics(self, environ: WSGIEnvironment) -> Answer:
        """The same in numbers, for Prometheus; without names for those who may not see details."""
        try:
            from . import metrics
        except ImportError as error:
            if not self._complained:
                log.error("%s: there is no answer at %s", MISSING, environ.get("PATH_INFO", ""))
                log.debug("the import failed", exc_info=error)
            self._complained = True
            return render.not_found(MISSING)
        families = self.families(self._details.visible_to(environ))
        return metrics.expose(families, environ.get("HTTP_ACCEPT", ""))

    def families(self, seen: bool) -> cabc.Iterator[Metric]:
        """The families of metrics, as `prometheus_client` collects them.

        :param seen: with those that name a check or the service.
        """
        from . import metrics

        return metrics.families(self._measure(), self._about(), seen)

    def ui(self, environ: WSGIEnvironment) -> Answer:
        """The status page."""
        return self._page(environ)

    def fleet(self, environ: WSGIEnvironment) -> Answer:
        """All servers of the fleet; not found where there is none."""
        return self._fleet(environ)

    @functools.cached_property
    def _fleet(self) -> FleetTeller:
        from .fleet import FleetTeller  # Only here: few servers are part of one.

        return FleetTeller(self._member, self._details)

    @functools.cached_property
    def _page(self) -> StatusPage:
        from .page import StatusPage  # Only here: whoever never looks at it never pays for it.
        from .pages import Pages

        return StatusPage(Pages(self._details), self._overview, self._about)
