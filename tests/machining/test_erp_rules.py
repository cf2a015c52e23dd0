"""Rules for orders as a site writes them."""

from __future__ import annotations

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.machining.erp_rules import OrderRules, StatusRule, parse_rules

WHOLE = """
statuses:
  - {name: planned, like: "%plan%"}
  - {name: glass, like: vitrage}
journal: ["%cde%"]
boxes: ["SOP%"]
stock: []
ignore_case: false
ignore_accents: false
deleted_events: true
most_shrink_percent: 5
"""


def test_a_file_may_change_everything() -> None:
    assert parse_rules(WHOLE) == OrderRules(
        statuses=(StatusRule("planned", "%plan%"), StatusRule("glass", "vitrage")),
        journal=("%cde%",),
        boxes=("SOP%",),
        stock=(),
        ignore_case=False,
        ignore_accents=False,
        deleted_events=True,
        most_shrink_percent=5.0,
    )


def test_what_a_file_leaves_out_is_as_for_roller_shutters() -> None:
    assert parse_rules("") == OrderRules()
    assert parse_rules("boxes: ['VR%']") == OrderRules(boxes=("VR%",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("boxes: []", "boxes"),
        ("boxes: SOP%", "boxes"),
        ("boxs: ['SOP%']", "boxs"),
        ("statuses: [{name: a}]", "statuses.0.like"),
        ("statuses: [{name: a, like: b}, {name: a, like: c}]", "same name"),
        ("most_shrink_percent: 100", "most_shrink_percent"),
        ("boxes: [", "not valid YAML"),
        ("[]", "wrong"),
    ],
)
def test_a_wrong_file_says_what_and_where(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_rules(text, "plant/orders.yml")
    assert "plant/orders.yml" in str(caught.value)
