"""`flask health doctor`: what will go wrong with this configuration, before it does."""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap

from ..workers.statedir import candidates
from .command import BAD, GOOD, Command, Option, Options, one_of, seconds, whole
from .diagnosis import examine
from .diagnosis.finding import SEVERITIES, Finding
from .facts import PROBERS, Facts, Prober
from .gather import GUNICORN_OPTIONS, app_facts, gunicorn_facts
from .gunicorn_conf import Missing

WIDTH = 100
"""Characters of a line of prose."""
MOST = 4096
"""Bytes of output when nobody watches it in a terminal."""

NOTES = """
Reads the app's configuration, its checks and steps, and gunicorn's configuration, which is run as
gunicorn would run it. Starts and writes nothing.

The prober's numbers are by default those of --prober, as it has them itself.

exit status: 0 no findings, 1 findings, 3 wrong use
"""


def run(options: Options) -> int:
    """Tells all findings."""
    app = app_facts(options.flask_app)
    gunicorn, unchecked = None, []
    try:
        gunicorn = gunicorn_facts(options.gunicorn, options.config)
    except Missing as why:
        unchecked.append(f"gunicorn: {why}")
    bases = candidates(app.config.state_dir, gunicorn.worker_tmp_dir if gunicorn else None)
    findings = examine(Facts(app, gunicorn, _prober(options), bases, _mounts()))
    if options.json:
        told = [finding._asdict() for finding in findings]
        print(json.dumps({"findings": told, "unchecked": unchecked}, indent=2))
    else:
        print(_text(findings, unchecked))
    return BAD if findings else GOOD


def _prober(options: Options) -> Prober:
    given = {
        "period": options.period,
        "failures": options.failure_threshold,
        "timeout": options.probe_timeout,
        "grace": options.grace_period,
    }
    return PROBERS[options.prober]._replace(**{k: v for k, v in given.items() if v is not None})


def _mounts() -> str:
    with contextlib.suppress(OSError), open("/proc/mounts", errors="surrogateescape") as file:
        return file.read()
    return ""


def _text(findings: list[Finding], unchecked: list[str]) -> str:
    parts = [_summary(findings), *map(_paragraph, findings)]
    end = [f"not checked: {what}" for what in unchecked]
    limit = sys.maxsize if sys.stdout.isatty() else MOST - 100 - len("\n".join(end).encode())
    shown: list[str] = []
    for part in parts:
        if len("\n\n".join([*shown, part]).encode()) > limit:
            end.insert(0, f"... and {len(parts) - len(shown)} more: --json tells all")
            break
        shown.append(part)
    return "\n\n".join(shown + (["\n".join(end)] if end else []))


def _summary(findings: list[Finding]) -> str:
    if not findings:
        return "no findings"
    counts = [(sum(f.severity == s for f in findings), s) for s in SEVERITIES]
    shown = ", ".join(f"{count} {s}{'s' * (count > 1)}" for count, s in counts if count)
    return f"{len(findings)} finding{'s' * (len(findings) > 1)}: {shown}"


def _paragraph(finding: Finding) -> str:
    then = textwrap.fill(finding.then, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return (
        f"{finding.severity}: {finding.what} [{finding.name}]\n"
        f"{then}\n"
        f"  mend in {finding.where}:\n"
        f"    {finding.line}"
    )


COMMAND = Command(
    run,
    "[OPTION ...]",
    "Finds what will go wrong in the configuration of this app and of its gunicorn.",
    [
        *GUNICORN_OPTIONS,
        Option(
            "--prober", "who probes: " + ", ".join(PROBERS), "NAME", one_of(*PROBERS), "kubernetes"
        ),
        Option("--period", "seconds between two probes", "SECONDS", seconds),
        Option("--failure-threshold", "failing probes in a row that count", "N", whole),
        Option("--probe-timeout", "how long a probe waits for its answer", "SECONDS", seconds),
        Option("--grace-period", "time between SIGTERM and SIGKILL", "SECONDS", seconds),
        Option("--json", "for programs"),
    ],
    notes=NOTES,
)
