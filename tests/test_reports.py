"""What a job says of its run: plain values to publish, counts for people."""

from __future__ import annotations

from dataclasses import dataclass, field

from workspace_lib.reports import counts_frame, plain


@dataclass(frozen=True)
class _Harvest:
    field_name: str
    apples: int
    weights_g: tuple[int, ...] = ()
    apples_by_tree: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.apples > 0

    @property
    def trouble(self) -> str:
        return "" if self.complete else "no apples"


def test_a_report_is_published_with_its_verdict() -> None:
    assert plain(_Harvest("north", 0)) == {
        "field_name": "north",
        "apples": 0,
        "weights_g": (),
        "apples_by_tree": {},
        "complete": False,
        "trouble": "no apples",
    }


def test_people_see_its_counts_and_what_they_are_counts_of() -> None:
    report = _Harvest("north", 3, (90, 80, 85), {"old": 2, "young": 1})
    frame = counts_frame(report, "harvest", {"apples": report.apples_by_tree})
    assert frame["harvest"].to_dict() == {
        "field_name": "north",
        "apples": 3,
        "complete": True,
        "trouble": "",
        "apples of old": 2,
        "apples of young": 1,
    }
