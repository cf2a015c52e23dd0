"""The command ``workspace doctor``."""

from __future__ import annotations

import json

import pytest

from workspace_lib.cli import main
from workspace_lib.doctor import examination
from workspace_lib.doctor.commands import as_text
from workspace_lib.doctor.findings import Finding
from workspace_lib.settings import Settings

WELL = [Finding("python", "ok", "Python 3.11"), Finding("programs", "missing", "x", "y", False)]
UNWELL = [*WELL, Finding("disk", "missing", "full", "Free some.")]


@pytest.fixture
def site_option(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    return ["--site", settings.site]


@pytest.mark.parametrize(("findings", "code"), [(WELL, 0), (UNWELL, 1)])
def test_the_exit_code_says_whether_something_needed_is_missing(
    monkeypatch: pytest.MonkeyPatch, site_option: list[str], findings: list[Finding], code: int
) -> None:
    monkeypatch.setattr(examination, "examine", lambda settings: findings)
    assert main([*site_option, "doctor"]) == code


def test_json_has_every_finding(
    monkeypatch: pytest.MonkeyPatch, site_option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "examine", lambda settings: UNWELL)
    main([*site_option, "doctor", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [finding["topic"] for finding in printed] == ["python", "programs", "disk"]
    assert printed[2] == {
        "topic": "disk",
        "state": "missing",
        "message": "full",
        "fix": "Free some.",
        "needed": True,
    }


def test_a_finding_is_a_line_with_what_to_do_below() -> None:
    lines = as_text(UNWELL).splitlines()
    assert lines[0].split() == ["ok", "python", "Python", "3.11"]
    assert lines[1].split()[:2] == ["optional", "programs"]
    assert lines[-2].split() == ["missing", "disk", "full"]
    assert lines[-1].strip() == "→ Free some."


def test_the_whole_examination_ends_for_an_empty_site(
    site_option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*site_option, "doctor"]) == 0
    printed = capsys.readouterr().out
    for topic in ("python", "packages", "disk", "clock", "store", "jobs", "ports", "serial"):
        assert topic in printed
