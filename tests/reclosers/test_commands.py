"""``workspace reclosers list``, ``capture`` and ``import-ini`` as people type them."""

from __future__ import annotations

import argparse
import csv
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from workspace_lib.cli import main
from workspace_lib.reclosers.capture_commands import duration_s
from workspace_lib.reclosers.settings import load_fleet
from workspace_lib.settings import Settings

StartFleet = Callable[..., Any]


Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command of a site in this process; its handlers of signals go with it."""

    def run(settings: Settings, *words: str) -> int:
        monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
        return main(["--site", settings.site_name, "reclosers", *words])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_capturing_by_hand_prints_and_keeps_the_report(
    command: Command,
    start_fleet: StartFleet,
    fleets: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    fleet = start_fleet(fleets.relays_of(2, events=1))
    assert command(fleet.settings, "capture", "--report", str(tmp_path / "reports")) == 0
    said = capsys.readouterr().out
    assert "2 relays (2 done): 2 events new" in said
    assert fleet.stored() == fleet.truth()
    [table] = (tmp_path / "reports").glob("*.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["recloser"], row["outcome"], row["new"]) for row in rows] == [
        ("R-1", "done", "1"),
        ("R-2", "done", "1"),
    ]
    assert table.with_suffix(".txt").read_text() in said


def test_one_recloser_is_captured_on_demand(
    command: Command,
    start_fleet: StartFleet,
    fleets: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = start_fleet(fleets.relays_of(2, events=1))
    assert command(fleet.settings, "capture", "--reclosers", "R-2", "--deadline", "5m") == 0
    assert fleet.stored() == fleet.truth("R-2")
    kept = [path.suffix for path in (fleet.store.outputs / "logs/reclosers").glob("report_*")]
    assert sorted(kept) == [".csv", ".txt"]


def test_the_exit_code_says_that_not_every_relay_was_read(
    command: Command,
    start_fleet: StartFleet,
    fleets: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    relays = fleets.relays_of(2, events=1)
    relays[0].spec.password = "other"
    fleet = start_fleet(relays)
    assert command(fleet.settings, "capture") == 3
    assert "refused: 1 (R-1)" in capsys.readouterr().out


def test_an_unknown_recloser_is_refused_with_the_known_ones(
    command: Command,
    start_fleet: StartFleet,
    fleets: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = start_fleet(fleets.relays_of(2))
    assert command(fleet.settings, "capture", "--reclosers", "R-9") == 1
    assert "R-1, R-2" in capsys.readouterr().err


def test_the_list_says_how_the_last_visits_ended(
    command: Command,
    start_fleet: StartFleet,
    fleets: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = start_fleet(
        fleets.relays_of(1, events=1), also=[{"id": "M-9", "ced": "MAT", "remote": False}]
    )
    fleet.capture()
    assert command(fleet.settings, "list") == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["recloser", "ced", "name", "line", "visited", "outcome"]
    assert first.split()[::4] == ["R-1", "done"]
    assert "not remote" in second
    assert command(fleet.settings, "list", "--ced", "MAT") == 0
    assert "R-1" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400)]
)
def test_times_are_written_as_people_do(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-3m", "infh", "nan", "soon"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration_s(text)


def test_starting_imports_neither_jupyter_nor_pandas() -> None:
    program = (
        "import sys; from workspace_lib.cli import build_parser; build_parser(); "
        "import workspace_lib.reclosers.fleet; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    heavy = {"jupyter_client", "IPython", "ipykernel", "papermill", "pandas", "matplotlib", "zmq"}
    assert not heavy & set(done.stdout.split())


# --- old settings ---------------------------------------------------------------------------------

INI = """\
[general]
territoire = LAV
mot de passe = OTTER
[L-1]
ip = 10.0.0.1
port = 5001
[L-2]
ip = 10.0.0.2
port = 5001
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.ini"
    path.write_text(INI)
    return path


def test_old_settings_are_printed_as_entries(
    command: Command, settings: Settings, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(settings, "import-ini", str(old)) == 0
    said = capsys.readouterr()
    printed = yaml.safe_load(said.out)
    assert [one["url"] for one in printed["reclosers"]] == [
        "socket://10.0.0.1:5001",
        "socket://10.0.0.2:5001",
    ]
    assert "Set the secret RELAY_LEVEL_1" in said.err
    assert "OTTER" not in said.out + said.err
    assert not (settings.site_dir / "reclosers.yml").exists()


def test_old_settings_are_added_once_below_what_people_wrote(
    command: Command, settings: Settings, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.site_dir / "reclosers.yml"
    path.write_text(
        "# Ours.\ngateways: [{id: north}]\nreclosers:\n"
        "# The first.\n- {id: L-2, ced: LAV, url: COM7}  # by hand\n"
    )
    assert command(settings, "import-ini", str(old), "--write") == 0
    said = capsys.readouterr()
    assert "1 reclosers added" in said.out
    assert "They stand there otherwise and stay so: L-2." in said.err
    assert path.read_text().startswith("# Ours.\ngateways: [{id: north}]\nreclosers:\n# The first.")
    assert [(one.id, one.url) for one in load_fleet(settings).reclosers] == [
        ("L-2", "COM7"),
        ("L-1", "socket://10.0.0.1:5001"),
    ]
    once = path.read_text()
    assert command(settings, "import-ini", str(old), "--write") == 0
    assert "0 reclosers added" in capsys.readouterr().out
    assert path.read_text() == once


@pytest.mark.parametrize("before", ["", "reclosers: []\n", "# None yet.\nreclosers: []\n"])
def test_old_settings_fill_an_empty_list(
    command: Command, settings: Settings, old: Path, before: str
) -> None:
    path = settings.site_dir / "reclosers.yml"
    if before:
        path.write_text(before)
    assert command(settings, "import-ini", str(old), "--write") == 0
    assert [one.id for one in load_fleet(settings).reclosers] == ["L-1", "L-2"]


def test_a_list_that_nothing_can_be_added_to_stays_as_it_is(
    command: Command, settings: Settings, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.site_dir / "reclosers.yml"
    path.write_text("reclosers: [{id: A-1, ced: LAV, url: COM1}]\ngateways: []\n")
    assert command(settings, "import-ini", str(old), "--write") == 1
    assert "put them in by hand" in capsys.readouterr().err
    assert path.read_text() == "reclosers: [{id: A-1, ced: LAV, url: COM1}]\ngateways: []\n"


def test_a_file_that_is_not_there_is_told(
    command: Command, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(settings, "import-ini", "nowhere.ini") == 1
    assert "nowhere.ini" in capsys.readouterr().err
    assert command(settings, "import-ini") == 1
    assert "nothing to import" in capsys.readouterr().err
