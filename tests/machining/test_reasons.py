"""The tree of reasons, and the list of another system."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.machining.pauses import Loss
from workspace_lib.machining.reasons import Reason, ReasonTree, read_reasons

TREE = ReasonTree(
    [
        Reason("tech", "Technical"),
        Reason("saw", "Saw", "tech", Loss.OWN),
        Reason("blade", "Blade worn", "saw", Loss.SETUP),
    ]
)


def test_a_reason_has_a_path_from_its_category() -> None:
    assert [reason.code for reason in TREE.path("blade")] == ["tech", "saw", "blade"]
    assert TREE.category("blade") == TREE.category("tech") == "Technical"


def test_headings_are_no_reasons_of_stops() -> None:
    assert [reason.code for reason in TREE.usable()] == ["saw", "blade"]


@pytest.mark.parametrize(
    ("reasons", "message"),
    [
        ([Reason("a", "A"), Reason("a", "B")], "'a' is there twice"),
        ([Reason("", "A")], "has no code"),
        ([Reason("a", "A", "b")], "There is no reason 'b'"),
        ([Reason("a", "A", "b"), Reason("b", "B", "a")], "circle"),
    ],
)
def test_a_tree_that_is_none_is_refused(reasons: list[Reason], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReasonTree(reasons)


def test_the_list_of_another_system_is_read(real_data: Path) -> None:
    path = real_data / "machining" / "point85" / "reasons.csv"
    tree = read_reasons(path.read_text(encoding="utf-8"))
    assert tree.category("Unplanned2") == "Unplanned downtime reasons"
    assert {reason.code: reason.loss for reason in tree.usable()} == {
        "Running": Loss.NONE,
        "Setup1": Loss.SETUP,
        "Setup2": Loss.SETUP,
        "Planned1": Loss.PLANNED,
        "Planned2": Loss.PLANNED,
        "Unplanned1": Loss.OWN,
        "Unplanned2": Loss.OWN,
        "Minor1": Loss.MINOR,
        "Minor2": Loss.MINOR,
    }
    assert "100" not in tree
    assert "Reject Codes" not in tree


def test_a_wrong_row_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match="reasons:2: A reason has 3 or 4 columns, not 2"):
        read_reasons("a, A, OWN, \nb, B\n")
    with pytest.raises(ConfigError, match=r"'LUNCH' is not known. Use one of NO_LOSS"):
        read_reasons("a, A, LUNCH, ")
