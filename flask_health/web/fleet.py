"""The answers at `/health/fleet`: a page for browsers, else JSON."""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from . import render
from .details import TokenDetails

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..fleet.member import Member
    from .fleetpage import FleetPage

Answer = tuple[str, list[tuple[str, str]], bytes]


class FleetTeller:
    """Tells of all servers of a fleet.

    :param member: this server in its fleet; None without one.
    """

    def __init__(self, member: cabc.Callable[[], Member | None], details: TokenDetails) -> None:
        self._member = member
        self._details = details

    def __call__(self, environ: WSGIEnvironment) -> Answer:
        """The answer to a request; not found without a fleet, and for who may not see it."""
        member = self._member()
        if member is None:
            return render.not_found()
        if wants_page(environ):
            return self._page(environ, member)
        if not self._details.visible_to(environ):
            return render.not_found()
        from ..fleet.telling import describe

        return render.info(describe(member.report(), member.listing.look(), member.changes))

    @functools.cached_property
    def _page(self) -> FleetPage:
        from .fleetpage import FleetPage  # Here: whoever reads JSON alone never pays for it.
        from .pages import Pages

        return FleetPage(Pages(self._details))


def wants_page(environ: WSGIEnvironment) -> bool:
    """Whether a browser asks, or the script of the page."""
    query = render.parse_query(environ)
    if "part" in query:
        return True
    return "format" not in query and "text/html" in environ.get("HTTP_ACCEPT", "")
