"""What a user gets: the contents of the wheel and of the sdist.

Both are built here from a copy of the checkout; FLASK_HEALTH_DIST names a directory
that already holds them, as when a release is about to be published.
"""

from __future__ import annotations

import configparser
import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

import flask_health

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCE = (".*", "build", "dist", "htmlcov", "*.egg-info", "__pycache__", "*.pyc")
TREES = ("flask_health", "tests", "docs", "benchmarks", "deploy")
FILES = (
    "CHANGES.md",
    "CONTRIBUTING.md",
    "LICENSE.txt",
    "README.md",
    "example_app.py",
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
)


class Built(NamedTuple):
    """The two files that are uploaded, with their names as they lie in the checkout."""

    wheel: zipfile.ZipFile
    sdist: frozenset[str]

    def read(self, name: str) -> str:
        """Return the text of `name` in the wheel's `.dist-info`."""
        info = next(n for n in self.wheel.namelist() if n.endswith(".dist-info/METADATA"))
        return self.wheel.read(info.replace("METADATA", name)).decode()

    @property
    def metadata(self) -> Message:
        """The wheel's core metadata."""
        return email.message_from_string(self.read("METADATA"))


def build(into: Path) -> Path:
    """Build the sdist from a copy of the checkout, and the wheel from the sdist."""
    source, dist = into / "source", into / "dist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    shutil.copytree(ROOT / ".ci", source / ".ci")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dist


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel and the sdist."""
    given = os.environ.get("FLASK_HEALTH_DIST")
    dist = Path(given).resolve() if given else build(tmp_path_factory.mktemp("packaging"))
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = frozenset(m.name.partition("/")[2] for m in archive.getmembers() if m.isfile())
    return Built(zipfile.ZipFile(wheel), names)


def source_files(tree: str) -> set[str]:
    """Return the files below `tree` that belong to the project."""
    found = (path.relative_to(ROOT) for path in (ROOT / tree).rglob("*") if path.is_file())
    made = {"__pycache__", "_build"}
    return {
        path.as_posix()
        for path in found
        if not made.intersection(path.parts) and not path.name.startswith(".")
    }


def required(metadata: Message) -> dict[str, set[str]]:
    """Return the requirements of each extra; those without an extra are under ''."""
    found: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip(" \"'")
        found.setdefault(extra, set()).add(requirement.strip())
    return found


def test_wheel_holds_the_whole_package(built: Built) -> None:
    """Every module, `py.typed` and every template is in the wheel, and nothing else is."""
    held = {name for name in built.wheel.namelist() if ".dist-info/" not in name}
    assert held == source_files("flask_health")
    assert "flask_health/py.typed" in held


def test_wheel_is_pure(built: Built) -> None:
    """One wheel serves every platform."""
    assert "Tag: py3-none-any" in built.read("WHEEL")


@pytest.mark.parametrize("tree", TREES)
def test_sdist_holds_the_trees(built: Built, tree: str) -> None:
    """Tests, documentation and benchmarks come with the sources."""
    assert source_files(tree)
    assert source_files(tree) <= built.sdist


def test_sdist_holds_what_the_tests_use(built: Built) -> None:
    """The example, the environments and the pages at the top come with the sources."""
    assert built.sdist >= {*FILES, ".ci/run"}


def test_sdist_holds_nothing_compiled(built: Built) -> None:
    """Caches, byte code and the site that is made of the pages stay at home."""
    assert not [name for name in built.sdist if name.startswith("docs/_build/")]
    assert not [name for name in built.sdist if name.endswith((".pyc", ".pyo"))]
    assert not [name for name in built.sdist if "__pycache__" in name or ".tox" in name]


def test_licence(built: Built) -> None:
    """The licence is an SPDX expression, and its text is in the wheel."""
    assert built.metadata["License-Expression"] == "BSD-3-Clause"
    assert built.metadata.get_all("License-File") == ["LICENSE.txt"]
    assert built.read("licenses/LICENSE.txt") == (ROOT / "LICENSE.txt").read_text()


def test_name_and_version(built: Built) -> None:
    """The metadata is what setup.cfg says."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert built.metadata["Name"] == "Flask-Health"
    assert built.metadata["Version"] == config["metadata"]["version"]
    assert built.metadata["Requires-Python"] == ">=3.10"


def test_only_flask_is_mandatory(built: Built) -> None:
    """A plain install brings Flask and nothing else; each integration is an extra."""
    requirements = required(built.metadata)
    assert requirements[""] == {"flask>=2.3"}
    assert set(requirements) == {"", "all", "async", "memory", "prometheus", "redis"}
    assert requirements["all"] == {"Flask-Health[async,memory,prometheus,redis]"}


def test_readme_is_the_description(built: Built) -> None:
    """The index shows the README."""
    assert built.metadata["Description-Content-Type"] == "text/markdown"
    assert built.metadata.get_payload() == (ROOT / "README.md").read_text()


def test_installing_adds_one_command(built: Built) -> None:
    """`flask-health`, and no `flask.commands`: it would hide an app's own `flask health`."""
    (name,) = [name for name in built.wheel.namelist() if name.endswith("entry_points.txt")]
    assert built.wheel.read(name).decode().split() == (
        ["[console_scripts]", "flask-health", "=", "flask_health.__main__:main"]
    )


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="this run was not started by tox")
def test_tox_tests_the_wheel() -> None:
    """Under tox the tests import what was installed, and never the checkout."""
    assert Path(flask_health.__file__).is_relative_to(sys.prefix)


def test_readme_and_ci_run_the_same_command() -> None:
    """What .ci/run runs is, to the letter, what the README tells people to run."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    (command,) = (line.strip() for line in lines if line.endswith("-m tox"))
    assert command in (ROOT / "README.md").read_text().splitlines()
