"""A service of Docker Compose, alone or as a fleet on Redis."""

from __future__ import annotations

from .plan import Plan
from .text import comment, items, lines, quoted, words

PERIOD, FAILURES, TIMEOUT = 5, 3, 3
"""Of `docker`'s own probe, in seconds: it starts a process each time."""


def render(plan: Plan) -> str:
    """The file, for `docker compose up`."""
    return lines("services:", _app(plan), _health(plan), _redis(plan))


def _app(plan: Plan) -> str:
    first = plan.port
    last = first + plan.replicas - 1
    ports = f"{first}-{last}:{plan.port}" if plan.replicas > 1 else f"{first}:{plan.port}"
    count = (
        f"""
    deploy:
      replicas: {plan.replicas}"""
        if plan.replicas > 1
        else ""
    )
    fleet = (
        f"""
      FLASK_HEALTH_FLEET_URL: redis://redis:6379/0
      FLASK_HEALTH_FLEET_REQUIRED: "{plan.fleet_required}" # "false": start without Redis
      FLASK_HEALTH_VERSION: "{plan.release}" # of the image: the fleet's steps run once for each"""
        if plan.fleet
        else ""
    )
    after = (
        """
    depends_on:
      redis:
        condition: service_healthy"""
        if plan.fleet
        else ""
    )
    listen = f"\n      FLASK_HEALTH_LISTEN: {quoted(plan.address)}" if plan.address else ""
    return f"""\
  {plan.name}:
    image: {quoted(plan.image)}
    command:
{items(plan.command("/run/health"), 6)}{count}{after}
    ports: [{quoted(ports)}]
    environment:{listen}
      FLASK_HEALTH_STATE_DIR: /run/health
      FLASK_HEALTH_TOKEN: ${{FLASK_HEALTH_TOKEN:?set it, for example in .env}}{fleet}
    read_only: true
    tmpfs:
      - /run/health:size=16m,mode=1777 # where workers meet, and gunicorn's heartbeats
      - /tmp"""


def _health(plan: Plan) -> str:
    return f"""\
    # {plan.stop_sum} = {plan.stop}
    stop_grace_period: {plan.stop}s
    restart: unless-stopped
    healthcheck:
      test: {words(["CMD", *plan.check("ready")])}
      interval: {PERIOD}s
      retries: {FAILURES} # unhealthy after {PERIOD} s x {FAILURES} = {PERIOD * FAILURES} s
      timeout: {TIMEOUT}s
{comment(plan.start_sum, 6)}
      start_period: {plan.start}s
      start_interval: 1s"""


def _redis(plan: Plan) -> str:
    if not plan.fleet:
        return ""
    return f"""\
  redis:
    image: redis:7-alpine
    command: ["redis-server", "--appendonly", "yes"] # which steps are done outlives a restart
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: {PERIOD}s
      timeout: {TIMEOUT}s"""
