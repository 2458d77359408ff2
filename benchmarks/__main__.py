"""`python -m benchmarks [figure ...]`: measures, prints each value next to its budget.

The exit status is 1 when a budget does not hold.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from .measure import Line

FIGURES = {
    "probe": "what a plain probe costs in process",
    "throughput": "a probe's requests per second under gunicorn",
    "business": "what a business request pays",
    "startup": "what probes see while workers start",
    "cost": "import time and memory",
    "command": "what one check from the command line costs",
    "death": "how soon a dead worker counts as dead",
    "curve": "what a plain probe costs with more and more checks",
    "slow": "how long a probe takes with slow checks",
    "details": "what the JSON with every detail costs",
    "hanging": "what a dependency that hangs does to probes and other requests",
    "drain": "what stopping and restarting costs",
    "runs": "how often the workers of a server run a check",
    "fleet": "what a fleet costs its Redis, and how fast it learns",
    "outage": "how soon a dead dependency shows in every worker",
    "saturated": "whether probes are answered while every worker is busy",
    "idle": "what the second port costs while nobody asks",
}

PATIENT = ("runs", "outage")
"""They mostly wait, and are measured at the same time, after the others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every budget holds, 1 when one does not, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.figures if name not in FIGURES]
    if unknown:
        _parser().error(f"no figure is named {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    print(_machine(), flush=True)
    lines = []
    for names in turns(options.figures or list(FIGURES)):
        with ThreadPoolExecutor(len(names)) as pool:
            for found in pool.map(lambda name: _measured(name, options.quick), names):
                lines += found
    if options.json:
        _write(options.json, lines)
    failed = [line for line in lines if line.holds is False]
    print(f"\n{len(lines)} values, {len(failed)} outside their budget")
    return 1 if failed else 0


def turns(names: Sequence[str]) -> list[list[str]]:
    """What is measured one after the other, and at the same time."""
    patient = [name for name in names if name in PATIENT]
    alone = [[name] for name in names if name not in PATIENT]
    return [*alone, patient] if patient else alone


def table(lines: Sequence[Line]) -> str:
    """One row for each value, in columns."""
    rows = [
        (line.figure, line.what, _number(line), line.budget, line.verdict, line.note)
        for line in lines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(FIGURES)
    parser.add_argument("figures", nargs="*", help=f"what to measure: {names}; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: works, but proves nothing"
    )
    parser.add_argument("--json", metavar="FILE", help="write the values to a file, too")
    return parser


def _measured(name: str, quick: bool) -> list[Line]:
    """The values of a figure, which are printed, too."""
    measure: Callable[[bool], list[Line]] = import_module(f"benchmarks.{name}").measure
    begin = time.monotonic()
    lines = measure(quick)
    print(f"\n{FIGURES[name]} ({time.monotonic() - begin:.0f} s)\n{table(lines)}", flush=True)
    return lines


def _number(line: Line) -> str:
    digits = ".0f" if line.value >= 100 or float(line.value).is_integer() else ".3g"
    return f"{line.value:{digits}} {line.unit}".rstrip()


def _machine() -> str:
    packages = [f"{name} {_version(name)}" for name in ("Flask", "gunicorn", "Flask-Health")]
    return f"{platform.platform()}, Python {platform.python_version()}, {', '.join(packages)}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from the checkout"


def _write(path: str, lines: Sequence[Line]) -> None:
    document = {"machine": _machine(), "lines": [line.as_dict() for line in lines]}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
