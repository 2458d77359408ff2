"""A pytest plugin: with FLASK_HEALTH_NO_SKIPS set, a run in which a test was skipped fails.

For machines that have everything: there a skip means that something was not tested.
Tests that were deselected do not count, nor do expected failures.
"""

from __future__ import annotations

import os

import pytest


def _skipped(config: pytest.Config) -> list[pytest.TestReport | pytest.CollectReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("FLASK_HEALTH_NO_SKIPS"):
        return []  # a worker of pytest-xdist has no terminal: its controller counts
    return list(reporter.stats.get("skipped", []))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a passed run into a failed one."""
    if _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests were skipped and that this is why the run fails."""
    skipped = _skipped(config)
    if not skipped:
        return
    terminalreporter.section("skipped, and FLASK_HEALTH_NO_SKIPS is set", red=True, bold=True)
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        terminalreporter.write_line(f"{report.nodeid}: {reason}")
