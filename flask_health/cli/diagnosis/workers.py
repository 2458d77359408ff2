"""Workers that are too few, too old, or cannot meet."""

from __future__ import annotations

import collections.abc as cabc
import os

from ...model.check import Check
from ...workers.steps import Step
from ..facts import Facts
from .finding import APP, ENVIRONMENT, GUNICORN, Finding, key

NETWORK = ("9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "smb")
"""Beginnings of the types of file systems whose locks are another machine's."""

OLDEST = (22, 0)


def too_many_wanted(facts: Facts) -> cabc.Iterator[Finding]:
    """A server that is not ready as soon as one worker is missing."""
    gunicorn, least = facts.gunicorn, facts.app.config.min_workers
    if gunicorn and gunicorn.workers > 1 and least >= gunicorn.workers:
        yield Finding(
            "min-workers",
            "warning",
            f"HEALTH_MIN_WORKERS is {least}, gunicorn has {gunicorn.workers} workers",
            "Every crash and every recycled worker is an outage of the whole server, until its "
            "replacement is ready.",
            key("HEALTH_MIN_WORKERS", gunicorn.workers - 1),
            APP,
        )


def recycled_alone(facts: Facts) -> cabc.Iterator[Finding]:
    """One worker that is replaced every so often."""
    gunicorn = facts.gunicorn
    if gunicorn and gunicorn.max_requests and gunicorn.workers == 1:
        yield Finding(
            "max-requests",
            "warning",
            f"max_requests is {gunicorn.max_requests}, with one worker",
            f"After {gunicorn.max_requests} requests nobody serves until a new worker has "
            "imported the app and finished its setup.",
            "workers = 2",
            GUNICORN,
        )


def gunicorn_version(facts: Facts) -> cabc.Iterator[Finding]:
    """Releases of gunicorn that cannot be relied on."""
    if facts.gunicorn is None:
        return
    version = ".".join(map(str, facts.gunicorn.version))
    if facts.gunicorn.version < OLDEST:
        then = (
            "It kills a worker whose setup takes longer than `timeout`, over and over; "
            "22.0 is the oldest that is supported."
        )
    elif facts.gunicorn.version[:3] == (25, 1, 0):
        then = "This release deadlocks when it forks; 25.1.1 and newer do not."
    else:
        return
    yield Finding(
        "gunicorn-version",
        "error",
        f"gunicorn is {version}",
        then,
        "gunicorn>=22,!=25.1.0",
        "requirements.txt",
    )


def reuse_port(facts: Facts) -> cabc.Iterator[Finding]:
    """A queue of connections for each worker."""
    if facts.gunicorn and facts.gunicorn.reuse_port and facts.app.steps:
        yield Finding(
            "reuse-port",
            "warning",
            "reuse_port is on",
            "Each worker has a queue of its own, so a cold worker cannot be held out of the "
            "accept loop: after a crash it answers its share of requests with 503.",
            "reuse_port = False",
            GUNICORN,
        )


def preloaded_step(facts: Facts) -> cabc.Iterator[Finding]:
    """Steps that a reload runs again, from the old code."""
    steps = [step.name for step in facts.app.steps if step.scope == "server"]
    if facts.gunicorn and facts.gunicorn.preload and steps:
        yield Finding(
            "preload-step",
            "warning",
            f"preload_app is on, and setup step '{steps[0]}' has scope 'server'",
            "HUP keeps the code that was imported at the start and runs the step again from it: "
            "an old migration after a new release.",
            "preload_app = False",
            GUNICORN,
        )


def lonely_fleet(facts: Facts) -> cabc.Iterator[Finding]:
    """What is meant to run once for all servers, where nothing joins them."""
    registered: list[tuple[str, Step | Check]] = [("setup step", s) for s in facts.app.steps]
    registered += [("check", check) for check in facts.app.checks]
    for what, one in registered:
        if one.scope == "fleet" and not facts.app.config.fleet_url:
            yield Finding(
                "fleet-scope",
                "warning",
                f"{what} '{one.name}' has scope 'fleet', without HEALTH_FLEET_URL",
                "Each server runs it for itself, at the same time as the others.",
                "export FLASK_HEALTH_FLEET_URL=redis://cache:6379/0",
                ENVIRONMENT,
            )


def state_directory(facts: Facts) -> cabc.Iterator[Finding]:
    """A place where workers cannot meet, or not reliably."""
    configured = facts.app.config.state_dir
    if configured and not os.path.isdir(configured):
        yield Finding(
            "state-dir-missing",
            "error",
            f"HEALTH_STATE_DIR is {configured!r}, which is no directory",
            "It is passed over with an error in the log, and the next candidate is taken.",
            f"mkdir -p {configured}",
            "whatever starts the server",
        )
    base = next((base for base in facts.bases if _usable(base)), None)
    kind = file_system(base, facts.mounts) if base else ""
    if base and kind.startswith(NETWORK):
        yield Finding(
            "state-dir-network",
            "error",
            f"the state directory would be below {base}, which is on a {kind} file system",
            "Locks there depend on another machine, and outlive workers: probes of this server "
            "may hang or tell of the dead.",
            key("HEALTH_STATE_DIR", "/dev/shm"),
            APP,
        )


def file_system(path: str, mounts: str) -> str:
    """The type of the file system that a path is on, by the text of `/proc/mounts`; else ''."""
    place, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        if inside and len(point) >= len(place):
            place, kind = point, fields[2]
    return kind


def _usable(base: str) -> bool:
    return os.path.isdir(base) and os.access(base, os.W_OK | os.X_OK)


RULES = (
    too_many_wanted,
    recycled_alone,
    gunicorn_version,
    reuse_port,
    preloaded_step,
    lonely_fleet,
    state_directory,
)
