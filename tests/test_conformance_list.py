"""Every case of the conformance list is tested, or listed with the reason why we differ."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "conformance.md"
ID = re.compile(r"\b[A-H]\d\d\b")

CASES = frozenset(
    """
    A01 A03 A04 A06 A07 A09 A10 A12 A13 A15 A16 A18 A19 A21
    B01 B03 B04 B06 B07 B09 B10 B12 B13 B15 B16 B18 B19 B21 B22 B24
    C01 C03 C04 C06 C07 C09 C10 C12 C13 C15 C16 C18 C19
    D02 D03 D05 D06 D08 D09 D11 D12 D14 D15 D17 D18
    E01 E02 E04 E05 E07 E08 E10 E11
    F01 F02 F04 F05 F07 F08 F10 F11 F13 F14 F16 F17 F19 F20 F22 F23 F25
    G01 G03 G04
    H01 H02 H04 H05 H07 H08 H10 H11 H13 H14 H16 H17
    """.split()
)


def cited() -> dict[str, list[str]]:
    """Return the tests that cite a case in their docstring, by case."""
    found: dict[str, list[str]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for case in ID.findall(ast.get_docstring(node) or ""):
                    found.setdefault(case, []).append(f"{file.name}::{node.name}")
    return found


def listed() -> dict[str, str]:
    """Return the reasons of the page, by case."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {case: row[-1] for row in rows for case in ID.findall(row[0])}


# Cases of which a test shows what we do instead.
SHOWN = {"A09", "C03", "H10", "H11"}


def test_every_case_is_tested_or_listed() -> None:
    """And none of them both, but those whose difference is shown by a test."""
    tested, differing = set(cited()), set(listed())
    assert tested | differing == CASES
    assert tested & differing == SHOWN


def test_every_difference_has_a_reason() -> None:
    """A sentence, not a word."""
    for case, reason in listed().items():
        assert len(reason.split()) >= 4, case
        assert reason.endswith("."), case
