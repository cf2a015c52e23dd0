"""What is fetched of which model, and what an event is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_plan import CapturePlan, FetchedEvent, FetchedFile, model_in

ENTRY = HistoryEntry(1, device_time(datetime(2026, 3, 1), 0, 3), "AG T")


@pytest.mark.parametrize(
    ("formats", "model", "report", "files"),
    [
        ("auto", "SEL-351R", True, False),
        ("auto", "SEL-351R-4", True, False),
        ("auto", "SEL-651R-2", True, True),
        ("auto", "", True, True),
        ("cev", "SEL-651R-2", True, False),
        ("comtrade", "SEL-651R-2", False, True),
        ("both", "SEL-351R", True, True),
    ],
)
def test_formats_by_model(formats: Any, model: str, report: bool, files: bool) -> None:
    plan = CapturePlan(formats=formats)
    assert (plan.wants_report(), plan.wants_files(model)) == (report, files)


def test_words_of_a_report_by_model() -> None:
    plan = CapturePlan(report="C", report_651="S128 R")
    assert plan.command(3, "SEL-351R").text == "CEV 3 C"
    assert plan.command(3, "SEL-651R-2").text == "CEV 3 S128 R"
    assert CapturePlan(report="").command(3, "SEL-651R-2").text == "CEV 3"


@pytest.mark.parametrize(
    "wrong",
    [
        {"formats": "all"},
        {"reads": 1},
        {"renumber": 0},
        {"report": "ACK"},
        {"report_651": "NEXT"},
        {"extras": ("HIS C",)},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        CapturePlan(**wrong)


def test_the_model_is_what_the_firmware_says() -> None:
    assert model_in({"FID": "SEL-651R-2-R406-V2-Z006003-D20190308"}) == "SEL-651R-2"
    assert model_in({"FID": "nonsense"}) == model_in({}) == ""


def test_the_content_of_an_event_is_its_report_else_its_first_file() -> None:
    report, config = FetchedFile("cev", "", b"report"), FetchedFile("cfg", "HR_1.CFG", b"config")
    assert FetchedEvent(ENTRY, "whole", (config, report)).content == b"report"
    assert FetchedEvent(ENTRY, "whole", (config,)).content == b"config"
    assert FetchedEvent(ENTRY, "whole", (config,)).sha256 == config.sha256
    nothing = FetchedEvent(ENTRY, "summary")
    assert (nothing.content, nothing.sha256, nothing.file("cfg")) == (None, None, None)
