"""A Dockerfile with a HEALTHCHECK."""

from __future__ import annotations

from .plan import Plan
from .text import comment, lines, words

PERIOD, FAILURES, TIMEOUT = 10, 3, 3


def render(plan: Plan) -> str:
    """The file, for `docker build`."""
    listen = f"\nENV FLASK_HEALTH_LISTEN={plan.address}" if plan.address else ""
    options = [
        f"--interval={PERIOD}s",
        f"--timeout={TIMEOUT}s",
        f"--retries={FAILURES}",
        f"--start-period={plan.start}s",
    ]
    return lines(
        f"""\
FROM python:3.13-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER 10001
# gunicorn's heartbeats and the directory in which workers meet: never on a disk.
ENV FLASK_HEALTH_STATE_DIR=/dev/shm{listen}
EXPOSE {" ".join(dict.fromkeys([str(plan.port), str(plan.probe_port)]))}
# Liveness: Swarm kills what is unhealthy, after {PERIOD} s x {FAILURES} = {PERIOD * FAILURES} s.
{comment(plan.start_sum)}
HEALTHCHECK {" ".join(options)} \\
    CMD {words(plan.check("live"))}
# As the process that gets SIGTERM: no shell before it.
# docker stop --time {plan.stop}: {plan.stop_sum}
CMD {words(plan.command("/dev/shm"))}"""
    )
