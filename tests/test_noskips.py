"""Where every test can run, a skip is a failure: `support.noskips`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.matrix  # it runs pytest in pytest: once is enough

PLUGIN = Path(__file__).resolve().parent / "support" / "noskips.py"
PASSES = "def test(): pass"
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test(): assert False"
SKIPS = "import pytest\n@pytest.mark.skip(reason='needs it')\ndef test(): pass"
SKIPS_A_MODULE = "import pytest\npytest.skip('needs it', allow_module_level=True)"


def run(home: Path, second: str, *args: str, forbidden: str = "1") -> tuple[int, str]:
    """Run a passing test and `second` with the plugin; return exit status and output."""
    (home / "noskips.py").write_text(PLUGIN.read_text())
    (home / "test_first.py").write_text(PASSES)
    (home / "test_second.py").write_text(second)
    command = [sys.executable, "-m", "pytest", "--rootdir=.", "-p", "noskips", *args]
    env = {
        **os.environ,
        "PYTHONPATH": str(home),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "FLASK_HEALTH_NO_SKIPS": forbidden,
    }
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n2")], ids=["", "xdist"])
@pytest.mark.parametrize("second", [SKIPS, SKIPS_A_MODULE], ids=["test", "module"])
def test_a_skip_fails_the_run(tmp_path: Path, second: str, args: tuple[str, ...]) -> None:
    """A skipped test or module makes the exit status 1, and the output says why."""
    status, output = run(tmp_path, second, *args)
    assert status == 1, output
    assert "FLASK_HEALTH_NO_SKIPS is set" in output
    assert "needs it" in output


def test_a_skip_is_fine_elsewhere(tmp_path: Path) -> None:
    """Without the variable nothing changes."""
    status, output = run(tmp_path, SKIPS, forbidden="")
    assert status == 0, output


@pytest.mark.parametrize("second", [PASSES, FAILS_AS_EXPECTED], ids=["pass", "xfail"])
def test_no_skip_no_change(tmp_path: Path, second: str) -> None:
    """Passed tests and expected failures are what they were."""
    status, output = run(tmp_path, second)
    assert status == 0, output


def test_a_failure_stays_a_failure(tmp_path: Path) -> None:
    """Collection errors keep their own exit status."""
    status, output = run(tmp_path, "raise RuntimeError")
    assert status == pytest.ExitCode.INTERRUPTED, output
