"""The fourteen faults of the programs that came before, each with what happens here instead."""

from __future__ import annotations

import ast
import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import select

import workspace_lib
from workspace_lib import formats
from workspace_lib.clock import to_us
from workspace_lib.errors import SourceError
from workspace_lib.rain import copy_run, frames, queries
from workspace_lib.rain.capture import capture
from workspace_lib.rain.copying import copy
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.in_force import Flag
from workspace_lib.rain.matrices import build
from workspace_lib.rain.matrix_files import encode
from workspace_lib.rain.settings import Gauge, load_network
from workspace_lib.rain.sums import sums_at
from workspace_lib.rain.tables import rain_conflicts
from workspace_lib.store import inventory
from workspace_lib.store.engines import read
from workspace_lib.transports import memory_ftp
from workspace_lib.transports.file_source import open_source
from workspace_lib.transports.ftp_mirror import only_mirror

pytestmark = pytest.mark.server

NOON = datetime(2024, 1, 9, 12, tzinfo=UTC)
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
US = 1_000_000


def rows(site: Any, gauge: str = "hydropolis") -> Any:
    with read(site.store.data) as connection:
        return read_rows(connection, gauge, 0, 2**62)


def series(site: Any, begin: datetime, end: datetime, *, gauge: str = "hydropolis") -> Any:
    chosen = load_network(site.settings).choose(gauge)
    return queries.calibrated(site.store, chosen, begin, end)[gauge]


# --- 1: counts taken for millimetres -------------------------------------------------------------


def test_counts_are_no_millimetres_until_they_are_calibrated(served_site: Any) -> None:
    """Fault 1: counts were taken for mm, and annual totals were five times too high."""
    served_site.deliver("Hydropolis", NOON, 0, 5, 0)
    served_site.capture()
    before = series(served_site, NOON - MINUTE, NOON + 5 * MINUTE)
    assert before.tips.tolist() == [5]
    assert np.isnan(before.rain_mm).all()
    served_site.calibrate()
    after = series(served_site, NOON - MINUTE, NOON + 5 * MINUTE)
    assert after.rain_mm == pytest.approx([(0.0008 * 25 + 1.0761 * 5) * 0.2])
    assert after.tips.tolist() == [5]


def test_what_is_published_says_which_column_is_counts_and_which_is_depth(
    served_site: Any,
) -> None:
    """Fault 1: the column Rain meant one thing in one file and another in the next."""
    served_site.deliver("Hydropolis", NOON, 0, 5, 0)
    served_site.capture()
    served_site.calibrate()
    mine = {"hydropolis": series(served_site, NOON - timedelta(days=3), NOON + 5 * MINUTE)}
    found = frames.sums(mine, NOON + 5 * MINUTE)
    assert {"tips", "rain_mm"} <= set(found.columns)
    assert "Rain" not in found.columns
    assert frames.SUMS_UNITS["rain_mm"] == "mm"


def test_a_yearly_file_in_millimetres_is_never_taken_for_counts(tmp_path: Path) -> None:
    """Fault 1: what one version wrote as mm, the next read as counts."""
    path = tmp_path / "Mse_concatenated_2024.csv"
    header = "Station,Timestamp,Rain,Wind,Battery,Year\n"
    path.write_text(header + "MSE,1704067200,0.2,0,12.2,2024\nMSE,1704067260,1.0,0,12.2,2024\n")
    found = formats.inspect(path)
    assert (found["unit"], found["tips"], found["total_mm"]) == ("mm", None, None)


# --- 2: calibration by the label inside, unknown ones silently uncalibrated ----------------------


def test_the_label_inside_does_not_choose_the_calibration(served_site: Any) -> None:
    """Fault 2: the calibration was looked up by the station id inside the file."""
    for gauge in ("Hydropolis", "Polytech"):
        served_site.deliver(gauge, NOON, 0, 5, 0)  # both say LOG1 inside
    served_site.capture()
    served_site.calibrate()
    times = (NOON - MINUTE, NOON + 5 * MINUTE)
    assert series(served_site, *times).rain_mm == pytest.approx([1.08010])
    assert series(served_site, *times, gauge="polytech").rain_mm == pytest.approx([1.0])


@pytest.mark.parametrize(("policy", "depth"), [("refuse", None), ("nominal", 1.0)])
def test_a_gauge_without_a_calibration_is_flagged(
    policy: str, depth: float | None, served_site: Any
) -> None:
    """Fault 2: an id without a calibration was left uncalibrated, and nobody was told."""
    path = served_site.settings.site_dir / "site.yml"
    site = yaml.safe_load(path.read_text())
    site["wings"]["rain"]["uncalibrated"] = policy
    path.write_text(yaml.safe_dump(site))
    served_site.settings = _loaded(served_site)
    served_site.deliver("Polytech", NOON, 0, 5, 0)
    served_site.capture()
    served_site.calibrate()
    found = series(served_site, NOON - MINUTE, NOON + 5 * MINUTE, gauge="polytech")
    assert found.flags[0] & (Flag.UNCALIBRATED | Flag.NOMINAL)
    assert np.isnan(found.rain_mm[0]) if depth is None else found.rain_mm[0] == depth


def test_a_file_of_nobody_is_quarantined_and_named(served_site: Any) -> None:
    """Fault 2: an id that nobody knew went through."""
    served_site.tree.put("/Elsewhere/Elsewher_090124_120000.txt", b"X, 1704801600, 1, 0, 12\n", 1e9)
    report = capture(served_site.store, served_site.settings, now=served_site.now)
    assert report.unknown_folders == {"Elsewhere": 1}
    assert "Elsewhere" in report.trouble


# --- 3, 4: matrices that are not sparse; missing and zero in one ---------------------------------


def test_the_matrix_stores_no_zeros_and_is_small(served_site: Any) -> None:
    """Fault 3: the sparse CSV was dense, the sparse matrix held its zeros."""
    served_site.deliver("Hydropolis", NOON, *([0] * 50), 2, *([0] * 49), 1)
    served_site.capture()
    served_site.calibrate()
    year = series(served_site, NEW_YEAR, NEW_YEAR.replace(year=2025))
    matrix = build([year], 2024)
    assert (matrix.tips.nnz, matrix.rain_mm.nnz) == (2, 2)
    assert (matrix.tips.data != 0).all()
    assert matrix.shape == (1, 527_040)
    assert len(encode(matrix, ".npz")) < 10_000


def test_missing_and_zero_are_told_apart_beside_the_matrix(served_site: Any) -> None:
    """Fault 4: a minute without data and a minute without rain were one in the matrix."""
    served_site.deliver("Hydropolis", NOON, 0, 0, 0)
    served_site.deliver("Hydropolis", NOON + 10 * MINUTE, 0, 1)
    served_site.capture()
    matrix = build([series(served_site, NEW_YEAR, NEW_YEAR.replace(year=2025))], 2024)
    first = int((NOON - NEW_YEAR) / MINUTE)
    covered = matrix.covered("hydropolis")[first - 1 : first + 13]
    assert covered.tolist() == [False, *[True] * 3, *[False] * 7, True, True, False]
    assert matrix.tips.nnz == 1
    assert 0.99 < matrix.missing_share("hydropolis") < 1


# --- 5, 6: years ---------------------------------------------------------------------------------


def test_every_year_touched_is_done_before_raw_files_go(served_site: Any) -> None:
    """Fault 5: only the last year was treated; the raw files of all were deleted."""
    served_site.configure(allow_delete=True, trash_folder="trash")
    for year in (2021, 2022, 2023, 2024):
        served_site.deliver("Hydropolis", datetime(year, 1, 5, 12, tzinfo=UTC), 0, year - 2020)
    served_site.capture()
    served_site.calibrate()
    served_site.products(years=[2024])
    assert served_site.clear().moved == 1  # the other years are not done yet
    assert len(served_site.raw_files()) == 3
    served_site.products()
    assert served_site.clear().moved == 3
    assert served_site.raw_files() == set()
    for year in (2021, 2022, 2023, 2024):
        content = served_site.files("products")[
            f"Hydropolis/{year}/Hydropolis_concatenated_{year}.csv"
        ]
        assert pd.read_csv(io.BytesIO(content))["Rain"].sum() == year - 2020


def test_the_last_hours_of_a_year_are_kept(served_site: Any) -> None:
    """Fault 6: at the turn of the year only rows of the current year were kept."""
    served_site.deliver("Hydropolis", NEW_YEAR - 3 * MINUTE, 1, 2, 3, 4, 5)
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    sent = served_site.files("products")
    tips = {
        year: pd.read_csv(io.BytesIO(sent[f"Hydropolis/{year}/Hydropolis_concatenated_{year}.csv"]))
        for year in (2023, 2024)
    }
    assert tips[2023]["Rain"].tolist() == [1, 2, 3]
    assert tips[2024]["Rain"].tolist() == [4, 5]


def test_late_data_of_a_past_year_are_taken(served_site: Any) -> None:
    """Fault 6: in January the yearly file did not exist yet, and old data were skipped."""
    served_site.deliver("Hydropolis", NOON, 1)
    served_site.capture()
    served_site.deliver("Hydropolis", NEW_YEAR - 60 * MINUTE, 0, 7)
    report = capture(served_site.store, served_site.settings, now=served_site.now)
    assert report.late_rows == 2
    assert rows(served_site)["tips"].tolist() == [0, 7, 1]


# --- 7: sums of the last N rows ------------------------------------------------------------------


def test_sums_are_those_of_a_time_and_not_of_a_number_of_rows(served_site: Any) -> None:
    """Fault 7: the sum of an hour was that of the last 60 rows, whatever time they took."""
    served_site.deliver("Hydropolis", NOON, *([1] * 40))
    served_site.deliver("Hydropolis", NOON + 300 * MINUTE, *([1] * 40))
    served_site.capture()
    end = NOON + 339 * MINUTE
    hour = sums_at(series(served_site, NOON - timedelta(days=3), end), 3600, [to_us(end)])
    assert hour.amounts.tips.tolist() == [40]
    assert hour.missing_share.tolist() == pytest.approx([20 / 60])


def test_rows_that_come_late_enter_the_sums_of_their_time(served_site: Any) -> None:
    """Fault 7: a row that came late was counted when it came."""
    end = NOON + 60 * MINUTE
    served_site.deliver("Hydropolis", end, 1)
    served_site.capture()
    served_site.deliver("Hydropolis", NOON + MINUTE, *([1] * 10))
    served_site.deliver("Hydropolis", NOON - 10 * MINUTE, *([1] * 10))
    served_site.capture()
    mine = series(served_site, NOON - timedelta(days=3), end)
    assert sums_at(mine, 3600, [to_us(end)]).amounts.tips.tolist() == [11]
    assert sums_at(mine, 86_400, [to_us(end)]).amounts.tips.tolist() == [21]


# --- 8: duplicates -------------------------------------------------------------------------------


def test_two_rows_for_one_minute_are_one_and_a_conflict(served_site: Any) -> None:
    """Fault 8: rows that differ in the battery both stayed, or one of them by chance."""
    served_site.deliver("Hydropolis", NOON, 3, battery=13.404)
    served_site.capture()
    other = f"LOG1, {int(NOON.timestamp())}, 3, 0, 14.105\n".encode() * 2
    served_site.tree.put("/Hydropolis/again/Hydropol_090124_120000.txt", other, 1e9)
    served_site.capture()
    stored = rows(served_site)
    assert (stored["tips"].tolist(), stored["battery_v"].tolist()) == ([3], [13.404])
    with read(served_site.store.data) as connection:
        found = connection.execute(select(rain_conflicts)).all()
    assert [(one.kept_battery_v, one.battery_v, one.policy) for one in found] == [
        (13.404, 14.105, "keep first")
    ] * 2


# --- 9: what was done before ---------------------------------------------------------------------


def test_a_name_within_another_name_is_another_file(served_site: Any) -> None:
    """Fault 9: a file counted as done if its name was part of a text."""
    first, second = "Hydropolis/xUM_090124_120000.txt", "Hydropolis/UM_090124_120000.txt"
    for nth, path in enumerate((first, second)):
        content = f"X, {int(NOON.timestamp()) + 60 * nth}, 1, 0, 12.2\n".encode()
        served_site.tree.put(f"/{path}", content, 1e9)
        served_site.capture()
    assert rows(served_site)["tips"].tolist() == [1, 1]
    with read(served_site.store.data) as connection:
        listed = inventory.list_files(connection, "rain")
    assert {(row.path, row.state) for row in listed} == {(first, "parsed"), (second, "parsed")}


# --- 10: files that are not whole ----------------------------------------------------------------


def test_a_file_that_is_still_written_is_left_until_it_stands_still(served_site: Any) -> None:
    """Fault 10: files were taken while they were written."""
    served_site.configure(stable_after_s=600)
    path = "/Hydropolis/Hydropol_090124_120000.txt"
    lines = [f"X, {int(NOON.timestamp()) + 60 * n}, 1, 0, 12.2\n".encode() for n in range(5)]
    moment = served_site.now.timestamp()
    served_site.tree.put(path, b"".join(lines[:2]), moment - 1)
    served_site.capture()
    served_site.tree.put(path, b"".join(lines), moment)
    served_site.capture()
    assert len(rows(served_site)) == 0
    served_site.capture()
    assert rows(served_site)["tips"].tolist() == [1] * 5


def test_a_transfer_that_ends_early_is_no_file(
    served_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 10: a connection that was lost made a short file that looked whole."""
    served_site.deliver("Hydropolis", NOON, 1, 1, 1, 1, 1)
    whole, cuts = memory_ftp._open, [40, 60]

    def cut(tree: Any, path: str, mode: str) -> Any:
        opened = whole(tree, path, mode)
        if cuts and mode.startswith("r"):
            opened.truncate(cuts.pop(0))
        return opened

    monkeypatch.setattr(memory_ftp, "_open", cut)
    first = capture(served_site.store, served_site.settings, now=served_site.now)
    assert cuts == []
    assert (first.fetched, len(first.failed)) == (0, 1)
    assert len(rows(served_site)) == 0
    assert capture(served_site.store, served_site.settings, now=served_site.now).fetched == 1
    assert rows(served_site)["tips"].tolist() == [1] * 5


# --- 11: uploads that leave nothing --------------------------------------------------------------


def test_an_upload_that_breaks_leaves_the_old_file(
    served_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 11: the old file was deleted, then the new one sent; a break left nothing."""
    with open_source(served_site.settings, "rain") as source:
        source.upload("products/year.csv", b"the old one")
        whole = memory_ftp._open

        def lose(tree: Any, path: str, mode: str) -> Any:
            if mode.startswith("w"):
                return io.BytesIO()  # a full disk: what is written is gone
            return whole(tree, path, mode)

        monkeypatch.setattr(memory_ftp, "_open", lose)
        with pytest.raises(SourceError):
            source.upload("products/year.csv", b"the new one, longer")
        assert served_site.files("products") == {"year.csv": b"the old one"}
        monkeypatch.undo()
        source.upload("products/year.csv", b"the new one, longer")
    assert served_site.files("products") == {"year.csv": b"the new one, longer"}


# --- 12: connections -----------------------------------------------------------------------------


def test_each_worker_has_a_connection_of_its_own(
    served_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 12: threads shared one connection and mixed up its answers."""
    _make_copied(served_site)
    for nth in range(12):
        first = NOON + 5 * nth * MINUTE
        content = f"X, {int(first.timestamp())}, 1, 0, 12.2\n".encode()
        served_site.tree.put(f"/base/Polytech/Polytech_{first:%d%m%y_%H%M%S}.txt", content, 1e9)
    users: dict[int, set[int]] = {}
    real = copy_run.upload_verified

    def note(source: Any, *arguments: Any, **more: Any) -> None:
        users.setdefault(id(source), set()).add(threading.get_ident())
        real(source, *arguments, **more)

    monkeypatch.setattr(copy_run, "upload_verified", note)
    report = copy(served_site.store, served_site.settings, now=served_site.now)
    assert report.copied == 12
    assert len(users) == 2
    assert all(len(threads) == 1 for threads in users.values())


def test_nothing_is_closed_by_the_garbage_collector() -> None:
    """Fault 12: connections said goodbye whenever an object happened to be collected."""
    package = Path(workspace_lib.__file__).parent
    for path in (*package.glob("transports/*.py"), *package.glob("rain/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert "__del__" not in names, path


# --- 13: units of time in pandas -----------------------------------------------------------------


def test_stamps_are_seconds_whatever_unit_pandas_counts_in(served_site: Any) -> None:
    """Fault 13: pandas 3 counts microseconds, and stamps came out a thousand times too small."""
    served_site.deliver("Hydropolis", NEW_YEAR, 1, 0, 2)
    served_site.capture()
    served_site.calibrate()
    mine = series(served_site, NEW_YEAR - MINUTE, NEW_YEAR.replace(year=2025))
    content = encode(build([mine], 2024), ".h5")
    with h5py.File(io.BytesIO(content)) as file:
        timestamps = file["timestamps"][:]
    assert timestamps[0] == 1_704_067_200
    assert (np.diff(timestamps) == 60).all()
    served_site.products()
    made = served_site.files("products")["Hydropolis/2024/Hydropolis_concatenated_2024.csv"]
    table = pd.read_csv(io.BytesIO(made))
    assert table["Timestamp"].tolist() == [1_704_067_200 + 60 * n for n in range(3)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_of_pandas_are_taken_in_any_unit(unit: str) -> None:
    """Fault 13: dividing by a fixed power of ten is right for one unit of four."""
    stamp = pd.DatetimeIndex(["2024-01-01T00:00:00Z"]).as_unit(unit)[0]
    assert to_us(stamp) == 1_704_067_200 * US


# --- 14: endless loops, swallowed errors ---------------------------------------------------------


def test_a_source_that_does_not_answer_is_an_error_with_a_name(served_site: Any) -> None:
    """Fault 14: every error was swallowed, and the program ended as if all were well."""
    served_site.server.stop()
    with pytest.raises(SourceError):
        capture(served_site.store, served_site.settings, now=served_site.now)


def test_two_runs_at_once_do_not_mix(served_site: Any) -> None:
    """Fault 14: nothing kept a second run from starting in the middle of the first."""
    _make_copied(served_site)
    outputs = served_site.store.outputs
    with only_mirror(outputs, "rain"), pytest.raises(SourceError, match="another process"):
        capture(served_site.store, served_site.settings, now=served_site.now)
    with only_mirror(outputs, "base-copy"), pytest.raises(SourceError, match="another process"):
        copy(served_site.store, served_site.settings, now=served_site.now)


def test_a_run_reports_what_it_did_and_what_it_could_not_do(served_site: Any) -> None:
    """Fault 14: nobody could tell afterwards what a run had done."""
    served_site.deliver("Hydropolis", NOON, 1, 2)
    served_site.tree.put("/Hydropolis/Hydropol_090124_130000.txt", b"nonsense\n", 1e9)
    report = capture(served_site.store, served_site.settings, now=served_site.now).to_dict()
    assert (report["files_parsed"], report["rows"]) == (1, 2)
    assert [path for path, _ in report["quarantined"]] == ["Hydropolis/Hydropol_090124_130000.txt"]
    assert "quarantined" in report["trouble"]


def test_the_jobs_end_by_themselves(repository: Path) -> None:
    """Fault 14: a loop without an end stood where a schedule belongs."""
    jobs = sorted((repository / "parameters" / "demo" / "jobs").glob("rain_*.yml"))
    assert len(jobs) >= 4
    for path in jobs:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert "service" not in content
        assert "timeout" in content
        notebook = repository / "notebooks" / "jobs" / f"{content['notebook']}.ipynb"
        assert "while" not in notebook.read_text(encoding="utf-8")


def _make_copied(site: Any) -> None:
    """Let Polytech be copied from the folder ``base``, and the raw files lie in ``raw``."""
    path = site.settings.site_dir / "site.yml"
    content = yaml.safe_load(path.read_text())
    content["sources"]["base"] = content["sources"]["rain"] | {"folder": "/base"}
    content["sources"]["rain"]["folder"] = "/raw"
    content["wings"]["rain"]["copy_from"] = "base"
    path.write_text(yaml.safe_dump(content))
    gauges = site.settings.site_dir / "gauges.yml"
    gauge = Gauge(id="polytech", name="Polytech", folder="Polytech", delivery="copied")
    gauges.write_text(yaml.safe_dump({"gauges": [gauge.model_dump(exclude_defaults=True)]}))
    site.tree.make_folders("/base")
    site.tree.make_folders("/raw")
    site.settings = _loaded(site)


def _loaded(site: Any) -> Any:
    from workspace_lib.settings import load_settings

    return load_settings(site.settings.site, root=site.settings.root)
