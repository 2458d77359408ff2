"""What is wrong with a configuration: small rules over facts, which start and write nothing."""

from __future__ import annotations

from ..facts import Facts
from . import exposure, probing, stopping, workers
from .finding import SEVERITIES, Finding, Rule

RULES: tuple[Rule, ...] = (*exposure.RULES, *probing.RULES, *stopping.RULES, *workers.RULES)


def examine(facts: Facts) -> list[Finding]:
    """All findings, the worst first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
