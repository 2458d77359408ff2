"""Asking a probe over HTTP."""

from __future__ import annotations

from .asking import Finding, check_version
from .command import Options, WrongUse
from .http import Answer, Unreachable, get
from .target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing as t

JSON = "application/health+json"


def ask(target: Target, options: Options, detailed: bool) -> tuple[Finding, dict[str, t.Any]]:
    """What a probe is answered with, and the members of its JSON when it is asked in detail.

    :raises WrongUse: when the version is asked for, and hidden.
    """
    url, path = target.url(options.probe), target.path(options.probe)
    try:
        if not detailed:
            return _plain(get(target, path, options.timeout), url), {}
        answer = get(target, path, options.timeout, JSON, options.token or "")
    except Unreachable as why:
        return Finding(False, f"{url}: {why}", reached=False), {}
    told = members(answer)
    return _detailed(answer, told, url, options), told


def members(answer: Answer) -> dict[str, t.Any]:
    """The members of a JSON object; none when it is something else."""
    import json

    try:
        content = json.loads(answer.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _plain(answer: Answer, url: str) -> Finding:
    told = f"{url} answered {answer.code}"
    if 300 <= answer.code < 400:
        told += f", a redirection to {answer.headers.get('location', 'nowhere')}"
    return Finding(200 <= answer.code < 300, told)


def _detailed(answer: Answer, told: dict[str, t.Any], url: str, options: Options) -> Finding:
    finding = _plain(answer, url)
    if told.get("output"):
        finding.text += f": {told['output']}"
    finding.warns = told.get("status") == "warn"
    if options.expect_version and "gate" not in told and answer.code in (200, 503):
        raise WrongUse(
            f"--expect-version: {url} hides its version from strangers: give its HEALTH_TOKEN "
            "with --token or FLASK_HEALTH_TOKEN"
        )
    wrong = check_version(told.get("releaseId"), options.expect_version)
    if finding.good and wrong:
        return Finding(False, f"{url}: {wrong}")
    return finding
