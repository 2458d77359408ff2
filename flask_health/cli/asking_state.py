"""Asking a probe without asking the server: reading its state directory."""

from __future__ import annotations

from ..model.server import SERVING
from .asking import Finding, check_version
from .choosing import NobodyError, choose
from .command import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..workers.outside import Boot


def ask(options: Options, detailed: bool) -> Finding:
    """The verdict of a probe."""
    try:
        boot = choose(options)
    except NobodyError as nobody:
        return Finding(False, str(nobody), reached=False)
    return judge(boot, options, detailed)


def judge(boot: Boot, options: Options, detailed: bool) -> Finding:
    """The verdict on a server."""
    good = boot.good(options.probe)
    census = boot.census
    text = f"{census.how_many(SERVING)} of {census.expected} workers serve"
    finding = Finding(good, text if good else boot.reason(options.probe))
    if detailed:
        from ..workers import outsidechecks

        wrong = check_version(outsidechecks.about(boot).get("version"), options.expect_version)
        if good and wrong:
            finding = Finding(False, wrong)
        if finding.good and options.probe in ("health", "ready"):
            warning = outsidechecks.warning(boot, outsidechecks.results(boot))
            finding.warns, finding.text = bool(warning), warning or text
    finding.text += f" (master {boot.master})"
    return finding
