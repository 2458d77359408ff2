"""Who sees what: too much, or nobody anything."""

from __future__ import annotations

import collections.abc as cabc
import urllib.parse

from ...model.mask import mask
from ..facts import Facts
from .finding import APP, ENVIRONMENT, Finding, key

HERE = ("localhost", "127.0.0.1", "::1")
TOKEN_LINE = 'export FLASK_HEALTH_TOKEN="$(openssl rand -hex 16)"'


def debug(facts: Facts) -> cabc.Iterator[Finding]:
    """Debug mode, which is for one's own machine."""
    if facts.app.debug:
        drain = (
            "" if facts.app.drain_delay else ", and a stop does not wait: HEALTH_DRAIN_DELAY is 0"
        )
        yield Finding(
            "debug",
            "error",
            "debug mode is on",
            f"Everybody who reaches the port sees details and tracebacks{drain}.",
            "export FLASK_DEBUG=0",
            ENVIRONMENT,
        )


def details_open(facts: Facts) -> cabc.Iterator[Finding]:
    """Details for everybody."""
    if facts.app.config.details == "always":
        yield Finding(
            "details-open",
            "warning",
            'HEALTH_DETAILS is "always"',
            "Everybody who reaches the port reads the names of your checks, the reasons of "
            "failures, host names and versions.",
            key("HEALTH_DETAILS", "authorized"),
            APP,
        )


def nobody_sees(facts: Facts) -> cabc.Iterator[Finding]:
    """Details for those who are authorized, and nobody is."""
    app = facts.app
    wanted = sorted(app.asked & {"HEALTH_DETAILS", "HEALTH_FLEET_URL"})
    if app.config.details != "authorized" or app.config.token or app.authorizes or app.debug:
        return
    if wanted and not _open_listener(facts):
        yield Finding(
            "no-token",
            "warning",
            f"{wanted[0]} is set, but neither HEALTH_TOKEN nor a function for health.authorize",
            "Nobody sees details, you neither: the log alone tells why the server is not ready.",
            TOKEN_LINE,
            ENVIRONMENT,
        )


def listener_without_token(facts: Facts) -> cabc.Iterator[Finding]:
    """A second port for others, whose details nobody can be given."""
    app = facts.app
    if _open_listener(facts) and not app.config.token and app.config.details == "authorized":
        yield Finding(
            "listen-without-token",
            "warning",
            f"HEALTH_LISTEN is {app.config.listen!r}, without HEALTH_TOKEN",
            "Other machines reach that port, and only a token opens details there: nobody sees "
            "why a probe is red.",
            TOKEN_LINE,
            ENVIRONMENT,
        )


def webhook_in_the_clear(facts: Facts) -> cabc.Iterator[Finding]:
    """A webhook's address is its secret."""
    url = facts.app.config.webhook_url
    parts = urllib.parse.urlsplit(url or "")
    if url and parts.scheme == "http" and parts.hostname not in HERE:
        secret = mask(f"http://{parts.hostname}/...")
        yield Finding(
            "webhook-http",
            "warning",
            f"HEALTH_WEBHOOK_URL goes to {secret} without TLS",
            "Whoever sees the traffic reads the reasons of failures, and the address, which is "
            "all that one needs to post there.",
            key("HEALTH_WEBHOOK_URL", f"https://{parts.hostname}/..."),
            APP,
        )


def _open_listener(facts: Facts) -> bool:
    listen = facts.app.config.listen
    if not listen or listen.startswith("unix:"):
        return False
    host = listen.rpartition(":")[0].strip("[]")
    return host not in HERE


RULES = (debug, details_open, nobody_sees, listener_without_token, webhook_in_the_clear)
