"""A change -> the JSON that a webhook gets."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import json
import os
import socket

from ..model.status import Status
from .outbox import Waiting

WORDS = {Status.FAIL: "fails", Status.WARN: "is degraded", Status.PASS: "works again"}


def compose(waiting: Waiting, about: cabc.Mapping[str, object]) -> bytes:
    """The body of a message.

    :param about: what the service says of itself.
    """
    edge = waiting.edge
    host, service = socket.gethostname(), str(about.get("serviceId", ""))
    members = {
        "text": _text(waiting, service, host),
        "service": service,
        "version": about.get("releaseId"),
        "host": host,
        "pid": edge.worker or os.getpid(),
        "component": edge.component,
        "status": str(edge.new),
        "previous": str(edge.old),
        "output": edge.output,
        "failures": edge.failures,
        "outage": round(edge.outage, 3),
        "left_out": waiting.left_out,
        "time": datetime.datetime.fromtimestamp(edge.time, datetime.timezone.utc).isoformat(),
    }
    return json.dumps({k: v for k, v in members.items() if v is not None}).encode()


def _text(waiting: Waiting, service: str, host: str) -> str:
    """One line for people, in the form that Slack and Mattermost show as it is meant."""
    edge = waiting.edge
    who = f"{edge.component} of worker {edge.worker}" if edge.worker else edge.component
    line = f"{service} on {host}: {who} {WORDS[edge.new]}"
    if edge.new is Status.PASS:
        line += f" after {_duration(edge.outage)}" if edge.outage else ""
    elif edge.output:
        line += f": {edge.output}"
    if edge.failures:
        line += f" ({_number(edge.failures, 'failure')} in a row)"
    if waiting.left_out:
        line += f"; {_number(waiting.left_out, 'change')} before it left out"
    # Else `<!channel>` in the words of an exception would wake everybody.
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
