"""The alert rules and the dashboard: Prometheus reads them, and each rule is tested."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.system import PROMETHEUS

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "deploy" / "prometheus"
RULES, TESTS = HOME / "rules.yml", HOME / "rules.test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"

pytestmark = pytest.mark.skipif(not PROMETHEUS.is_met, reason=PROMETHEUS.apt_get)

ALERTS = re.findall(r"- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


def promtool(*command: object, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        ["promtool", *map(str, command)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def expressions(found: Any) -> Iterator[str]:
    """Every expression of a dashboard, wherever it is in it."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "expr":
                yield value
            yield from expressions(value)
    elif isinstance(found, list):
        for value in found:
            yield from expressions(value)


def chosen(expression: str) -> str:
    """An expression in which somebody has chosen a service, a server and a time."""
    for variable, value in (("job", "shop"), ("instance", "a|b"), ("__rate_interval", "1m")):
        expression = expression.replace(f"${variable}", value)
    return expression


def test_the_rules_are_rules() -> None:
    """As promtool reads them; and each says how bad it is, and what to do."""
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout
    for rule in RULES.read_text().split("- alert: ")[1:]:
        assert re.search(r"severity: (critical|warning)$", rule, re.MULTILINE), rule
        assert "summary: " in rule, rule
        assert "description: " in rule, rule


def test_the_rules_pass_their_tests() -> None:
    """What fires, when, and what keeps quiet."""
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_rule_is_tested(alert: str, tmp_path: Path) -> None:
    """Without it, and when it fires always, their tests fail."""
    text = RULES.read_text()
    for name, expression in (("never", "vector(1) > 1"), ("always", "vector(1)")):
        rule = re.compile(
            rf"(- alert: {alert}\n\s+expr: )(\|\n(?:\s{{10,}}.*\n)+|.*\n)(\s+for: .*\n)?"
        )
        changed, number = rule.subn(rf"\g<1>{expression}\n", text)
        assert number == 1
        home = tmp_path / name
        home.mkdir()
        shutil.copy(TESTS, home)
        (home / "rules.yml").write_text(changed)
        assert promtool("check", "rules", home / "rules.yml").returncode == 0
        assert promtool("test", "rules", home / TESTS.name).returncode != 0, name


def test_each_rule_is_documented() -> None:
    """The page has a row for each, in order."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert re.findall(r"^\| `(FlaskHealth\w+)` \|", page, re.MULTILINE) == ALERTS


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As promtool parses it, once a service and a server are chosen."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = list(expressions(dashboard))
    assert len(found) > 20
    rules = [{"record": f"expression{n}", "expr": chosen(e)} for n, e in enumerate(found)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stderr
    assert f"{len(found)} rules found" in done.stdout


def test_the_panels_of_the_dashboard_have_their_places() -> None:
    """None has another's number or lies upon another; each says what it shows."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]
