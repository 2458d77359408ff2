"""`flask health manifest`: the deployment files of this app, with numbers that fit."""

from __future__ import annotations

import re
import sys

from . import manifests
from .command import GOOD, Command, Option, Options, WrongUse, nearest, whole
from .facts import App, Gunicorn
from .gather import GUNICORN_OPTIONS, app_facts, gunicorn_facts
from .gunicorn_conf import Missing
from .manifests.plan import Choices, Plan

FROM_OUTSIDE = ("aws", "haproxy", "kubernetes", "prometheus")
"""Kinds whose prober reaches the second port from another machine."""
FLEETS = ("compose", "kubernetes")

NOTES = f"""
KIND is one of
{", ".join(manifests.KINDS)}.

The numbers follow from the timeouts of the app's setup steps, HEALTH_DRAIN_DELAY, and gunicorn's
settings; comments give the arithmetic. The same input gives the same text.

exit status: 0 printed, 3 wrong use
"""


def run(options: Options) -> int:
    """Prints one manifest."""
    if not options.words:
        raise WrongUse("the kind is missing: one of " + ", ".join(manifests.KINDS))
    kind = options.words[0]
    if kind not in manifests.KINDS:
        raise WrongUse(f"there is no manifest {kind!r}{nearest(kind, manifests.KINDS)}")
    if options.fleet and kind not in FLEETS:
        raise WrongUse(f"--fleet is for {' and '.join(FLEETS)}, not for {kind!r}")
    app = app_facts(options.flask_app)
    if kind in FROM_OUTSIDE:
        _reachable(app)
    try:
        gunicorn = gunicorn_facts(options.gunicorn, options.config)
    except Missing as why:
        print(f"gunicorn's defaults are taken: {why}", file=sys.stderr)
        gunicorn = Gunicorn()
    import_name = options.flask_app.import_name if options.flask_app else ""
    choices = Choices(
        name=options.name or "",
        image=options.image or "",
        host=options.host or "",
        replicas=options.replicas,
        servers=options.servers or (),
        directory=options.directory or "",
        wsgi_app=gunicorn.wsgi_app or f"{import_name}:app",
        fleet=options.fleet,
    )
    print(manifests.render(kind, Plan(app, gunicorn, choices)), end="")
    return GOOD


def _reachable(app: App) -> None:
    listen = app.config.listen
    if listen and re.match(r"unix:|localhost:|127\.|\[::1\]", listen):
        raise WrongUse(
            f"HEALTH_LISTEN is {listen!r}, where no prober outside reaches it: set it to "
            "'0.0.0.0:9000', or to nothing, and the manifest will"
        )


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", text):
        raise ValueError("a name of small letters, digits and '-'")
    return text


def _plain(text: str) -> str:
    if not re.fullmatch(r"[\w./:@+%\[\]-]+", text, re.ASCII):
        raise ValueError("a text without blanks or quotes")
    return text


def _servers(text: str) -> tuple[str, ...]:
    servers = tuple(text.split(","))
    found = [re.fullmatch(r"[\w.\[\]:-]+:(\d{1,5})", server, re.ASCII) for server in servers]
    if not all(match and 0 < int(match[1]) < 65536 for match in found):
        raise ValueError("HOST:PORT, several with commas between them")
    return servers


COMMAND = Command(
    run,
    "KIND [OPTION ...]",
    "Prints a deployment file with numbers that agree with one another and with this app.",
    [
        *GUNICORN_OPTIONS,
        Option("--name", "what it is called there; else as the app", "NAME", _name),
        Option("--image", "of its container", "IMAGE", _plain),
        Option("--host", "the name under which it is reached", "HOST", _plain),
        Option("--replicas", "how many servers", "N", whole, 2),
        Option("--servers", "their addresses, for a balancer: HOST:PORT,...", "LIST", _servers),
        Option("--directory", "where it is installed, for systemd", "DIR", _plain),
        Option("--fleet", 'with Redis, for scope="fleet" (compose, kubernetes)'),
    ],
    most=1,
    notes=NOTES,
)
