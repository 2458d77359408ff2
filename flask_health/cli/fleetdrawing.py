"""A picture of a fleet as lines of text. Pure."""

from __future__ import annotations

import typing as t

from .drawing import bar, span, table

if t.TYPE_CHECKING:
    from .terminal import Terminal

Members = dict[str, t.Any]


def report(shown: Members, terminal: Terminal) -> list[str]:
    """Everything, the most important first."""
    servers = shown["servers"]
    word = "ready" if servers["ready"] else "not ready"
    counts = f"{servers['ready']} of {servers['total']} servers ready"
    lines = [f"{shown['service']}: {terminal.paint(word)}: {counts}"]
    if not servers["total"]:
        return [f"{shown['service']}: no server has told of itself"]
    lines += [_release(release, shown.get("rollingOut")) for release in shown["releases"]]
    for check, failing in shown.get("failing", {}).items():
        lines.append(f"check {check} fails on {failing} of {servers['total']} servers")
    rows = [_row(server) for server in shown["list"]["servers"]]
    lines += [
        "",
        *table(("SERVER", "STATUS", "RELEASE", "WORKERS", "RATE", "SINCE", ""), rows, terminal),
    ]
    missing = shown["list"]["total"] - shown["list"]["listed"]
    if missing > 0:
        lines.append(f"and {missing} more")
    lines += ["", *(_change(change) for change in shown["changes"])]
    return lines


def _release(release: Members, new: str | None) -> str:
    share = bar(release["servers"] and release["share"])
    rolling = ", rolling out" if release["release"] == new else ""
    told = f"{release['servers']} in all, {release['ready']} ready{rolling}"
    return f"release {release['release']:12} {share} {told}"


def _row(server: Members) -> list[str]:
    workers = server.get("workers", {})
    checks = server.get("checks", {})
    why = [server["reason"]] if server.get("reason") else []
    why += [f"{name}: {output}" for name, (_, output) in checks.items()]
    return [
        server["name"],
        _state(server),
        server["release"],
        f"{workers.get('ready', '?')}/{workers.get('expected', '?')}",
        _rate(server.get("traffic", {})),
        span(server["age"]),
        "; ".join(why),
    ]


def _rate(traffic: Members) -> str:
    return f"{traffic['rate']:.1f}/s" if traffic.get("rate") else ""


def _state(server: Members) -> str:
    if server.get("ready"):
        return str(server.get("status"))
    return "starting" if server.get("gate") in ("pending", "running") else "not ready"


def _change(change: Members) -> str:
    what = f"step {change['step']}: {change['state']}" if "step" in change else change["state"]
    return (
        f"{change['time'][11:19]}  {change.get('server', '')}  {what}  {change.get('release', '')}"
    )
