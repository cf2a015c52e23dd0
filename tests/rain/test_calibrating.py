"""From days of counts to days of depths: what is recomputed, what is kept, what is flagged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sqlalchemy import select

from workspace_lib.clock import to_us
from workspace_lib.errors import ConfigError, ParameterError, StoreError
from workspace_lib.rain import calibrating, queries
from workspace_lib.rain.analysis import TipSeries
from workspace_lib.rain.calibrating import CalibrationReport, calibrate
from workspace_lib.rain.calibration_files import load_calibrations
from workspace_lib.rain.depths import stale_days
from workspace_lib.rain.in_force import Flag
from workspace_lib.rain.ingest import ingest
from workspace_lib.rain.settings import RainSettings, load_network
from workspace_lib.rain.tables import rain_calibrations, rain_days, rain_depths
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write

#: Noon of a day; rows are put every minute from here.
DAY = datetime(2022, 3, 1, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)
MIN = timedelta(minutes=1)
RECORD: dict[str, Any] = {
    "gauge": "hydropolis",
    "valid_from": "2004-01-01T00:00:00Z",
    "mm_per_tip": 0.2,
    "kind": "quadratic",
    "x": "tips/min",
    "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
    "source": {"certificate": "No. 1"},
}
OTHER = {**RECORD, "gauge": "polytech", "mm_per_tip": 0.1}
Rows = Callable[..., None]
Calibrate = Callable[..., CalibrationReport]


class Site:
    """A site of two gauges whose list of calibrations a test changes."""

    def __init__(self, settings: Settings, store: Store, put: Rows, now: datetime) -> None:
        self.settings, self.store, self._put, self._now = settings, store, put, now
        self.network = load_network(settings)

    def calibrations(self, *records: dict[str, Any]) -> None:
        path = self.settings.site_dir / "calibrations.yml"
        path.write_text(yaml.safe_dump({"calibrations": list(records)}))

    def rows(self, *tips: int, at: datetime = NOON, gauge: str = "hydropolis") -> None:
        stamps = [to_us(at + nth * MIN) for nth in range(len(tips))]
        self._put(self.store, gauge, stamps, tips)

    def calibrate(self, **options: Any) -> CalibrationReport:
        return calibrate(self.store, self.settings, **{"now": self._now, **options})

    def series(self, gauge: str = "hydropolis", days: int = 10) -> TipSeries:
        gauges = [self.network.gauge(gauge)]
        return queries.calibrated(self.store, gauges, DAY - 5 * timedelta(days=1), self.end(days))[
            gauge
        ]

    def end(self, days: int) -> datetime:
        return DAY + timedelta(days=days)

    def depths(self, gauge: str = "hydropolis") -> list[float]:
        found = self.series(gauge).rain_mm
        assert found is not None
        return found.tolist()

    def flags(self, gauge: str = "hydropolis") -> list[int]:
        found = self.series(gauge).flags
        assert found is not None
        return found.tolist()

    def table(self, table: Any) -> list[tuple[Any, ...]]:
        with read(self.store.data) as connection:
            query = select(table).order_by(*table.primary_key.columns)
            return [tuple(row) for row in connection.execute(query)]

    def stale(self, gauge: str = "hydropolis") -> list[int]:
        """The stale days, counted from `DAY`."""
        found = load_calibrations(self.settings)[gauge]
        with read(self.store.data) as connection:
            return [
                day - (DAY - datetime(1970, 1, 1, tzinfo=UTC)).days
                for day in stale_days(connection, found)
            ]


def make(
    make_site: Callable[..., Settings], store: Store, put: Rows, now: datetime, **rain: Any
) -> Site:
    settings = make_site({"timezone": "Europe/Paris", "wings": {"rain": rain}})
    gauges = [
        {"id": "hydropolis", "name": "Hydropolis", "folder": "Hydropolis", "mm_per_tip": 0.3},
        {"id": "polytech", "name": "Polytech", "folder": "Polytech"},
    ]
    (settings.site_dir / "gauges.yml").write_text(yaml.safe_dump({"gauges": gauges}))
    site = Site(settings, store, put, now)
    site.calibrations(RECORD, OTHER)
    return site


@pytest.fixture
def site(make_site: Callable[..., Settings], store: Store, store_rows: Rows, now: datetime) -> Site:
    """The site on SQLite, each gauge with one record."""
    return make(make_site, store, store_rows, now)


@pytest.fixture
def any_site(
    make_site: Callable[..., Settings], any_store: Store, store_rows: Rows, now: datetime
) -> Site:
    """The site on both databases."""
    return make(make_site, any_store, store_rows, now)


class TestDepths:
    def test_a_row_of_a_minute_has_the_depth_of_its_rate(self, any_site: Site) -> None:
        any_site.rows(0, 1, 0, 10)
        report = any_site.calibrate()
        assert (report.days, report.rows, report.trouble) == (1, 2, "")
        assert any_site.depths() == pytest.approx([0.2 * 1.0769, 0.2 * 10.841])
        assert any_site.flags() == [0, 0]

    def test_a_row_of_59_seconds_has_a_higher_rate_than_one_of_61(
        self, site: Site, store_rows: Rows
    ) -> None:
        stamps = [to_us(NOON + timedelta(seconds=s)) for s in (0, 59, 120)]
        store_rows(site.store, "hydropolis", stamps, [0, 10, 10])
        site.calibrate()
        rates = [10 * 60 / 59, 10 * 60 / 61]
        expected = [0.2 * (0.0008 * x * 10 + 1.0761 * 10) for x in rates]
        assert site.depths() == pytest.approx(expected)
        assert site.flags() == [0, 0]

    def test_an_hourly_row_counts_the_declared_step_and_is_flagged(
        self, site: Site, store_rows: Rows
    ) -> None:
        stamps = [to_us(NOON), to_us(NOON + timedelta(hours=1))]
        store_rows(site.store, "hydropolis", stamps, [1, 10])
        report = site.calibrate()
        assert site.depths() == pytest.approx([0.2 * 1.0769, 0.2 * 10.841])
        assert site.flags() == [Flag.UNKNOWN_INTERVAL, Flag.UNKNOWN_INTERVAL]
        assert report.unknown_interval == 2

    def test_the_first_row_of_a_day_counts_from_the_last_one_of_the_day_before(
        self, site: Site
    ) -> None:
        site.rows(0, 1, 2, at=DAY - MIN)
        assert site.calibrate().days == 2
        assert site.flags() == [0, 0]

    def test_days_without_tips_have_no_depths_and_are_not_stale(self, site: Site) -> None:
        site.rows(0, 0, 0)
        assert (site.calibrate().days, site.calibrate().days) == (1, 0)
        assert site.depths() == []

    def test_rows_beyond_the_domain_are_flagged_and_told(self, site: Site) -> None:
        site.calibrations({**RECORD, "domain": [0, 5], "beyond": "refuse"})
        site.rows(0, 5, 6)
        report = site.calibrate()
        assert site.depths() == pytest.approx([0.2 * 5.4005, np.nan], nan_ok=True)
        assert site.flags() == [0, Flag.BEYOND_DOMAIN]
        assert "1 rows lie beyond the domain" in report.trouble

    def test_each_gauge_has_its_own(self, site: Site) -> None:
        site.rows(0, 1)
        site.rows(0, 1, gauge="polytech")
        site.calibrate()
        assert site.depths() == pytest.approx([0.2 * 1.0769])
        assert site.depths("polytech") == pytest.approx([0.1 * 1.0769])


class TestWhatIsRecomputed:
    def test_a_second_run_computes_nothing(self, any_site: Site) -> None:
        any_site.rows(1, 2, 3)
        assert any_site.calibrate().days == 1
        before = any_site.table(rain_depths)
        assert any_site.calibrate().days == 0
        assert any_site.table(rain_depths) == before

    def test_new_rows_make_their_own_days_stale_and_no_others(self, any_site: Site) -> None:
        for day in range(3):
            any_site.rows(0, 1, at=NOON + timedelta(days=day))
        any_site.rows(0, 1, gauge="polytech")
        assert any_site.calibrate().days == 4
        any_site.rows(7, at=NOON + timedelta(days=1, hours=1))
        report = any_site.calibrate()
        assert report.days_by_gauge == {"hydropolis": 1}
        assert any_site.depths() == pytest.approx([0.2 * 1.0769] * 2 + [0.2 * 7.5719, 0.2 * 1.0769])

    def test_rows_that_have_changed_have_no_depth_until_the_next_run(self, site: Site) -> None:
        site.rows(0, 1)
        site.calibrate()
        site.rows(3, at=NOON + 2 * MIN)
        assert np.isnan(site.depths()).all()
        assert site.flags() == [Flag.PENDING, Flag.PENDING]
        assert site.series().tips.tolist() == [1, 3]
        site.calibrate()
        assert site.depths() == pytest.approx([0.2 * 1.0769, 0.2 * 3.2355])

    def test_a_late_last_row_of_a_day_tells_for_how_long_the_next_day_s_first_one_counts(
        self, site: Site, store_rows: Rows
    ) -> None:
        store_rows(site.store, "hydropolis", [to_us(DAY)], [10])
        site.calibrate()
        assert site.flags() == [Flag.UNKNOWN_INTERVAL]
        assert site.depths() == pytest.approx([0.2 * 10.841])
        store_rows(site.store, "hydropolis", [to_us(DAY - timedelta(seconds=50))], [0])
        assert site.calibrate().days == 2
        assert site.flags() == [0]
        assert site.depths() == pytest.approx([0.2 * (0.0008 * 12 * 10 + 1.0761 * 10)])

    def test_another_record_recomputes_the_days_it_is_in_force_and_only_those(
        self, any_site: Site
    ) -> None:
        for day in range(4):
            any_site.rows(0, 1, at=NOON + timedelta(days=day))
            any_site.rows(0, 1, at=NOON + timedelta(days=day), gauge="polytech")
        any_site.calibrate()
        before = any_site.table(rain_depths)
        change = NOON + timedelta(days=2)  # the row stamped at it counts the minute before
        iso = change.isoformat()
        any_site.calibrations(
            {**RECORD, "valid_to": iso}, {**RECORD, "valid_from": iso, "mm_per_tip": 0.25}, OTHER
        )
        assert any_site.stale() == [3, 2]
        assert any_site.stale("polytech") == []
        report = any_site.calibrate()
        assert report.days_by_gauge == {"hydropolis": 2}
        assert report.new_records == 1
        assert any_site.depths() == pytest.approx([0.2 * 1.0769] * 2 + [0.25 * 1.0769] * 2)
        after = any_site.table(rain_depths)
        assert [row for row in after if row in before] == before[:2] + before[4:]
        old, new = any_site.series().calibration
        assert [row[3] for row in after[:4]] == [old, old, f"{old} {new}", new]

    def test_correcting_a_record_recomputes_all_its_days(self, site: Site) -> None:
        site.rows(0, 1)
        site.rows(0, 1, at=NOON + timedelta(days=1))
        site.calibrate()
        site.calibrations({**RECORD, "x": "mm/h"}, OTHER)
        assert site.calibrate().days == 2
        assert site.depths() == pytest.approx([0.0008 * 144 / 60 + 0.2 * 1.0761] * 2)

    def test_ending_a_record_in_the_future_recomputes_nothing_and_is_kept(
        self, any_site: Site
    ) -> None:
        any_site.rows(0, 1)
        any_site.calibrate()
        any_site.calibrations({**RECORD, "valid_to": "2024-01-01T00:00:00Z"}, OTHER)
        assert any_site.calibrate().days == 0
        kept = {row[1]: row for row in any_site.table(rain_calibrations)}
        assert kept["hydropolis"][3] == datetime(2024, 1, 1, tzinfo=UTC)
        assert kept["hydropolis"][4]["valid_to"] == "2024-01-01T00:00:00Z"

    def test_another_declared_step_recomputes_the_days_of_its_gauge(self, any_site: Site) -> None:
        any_site.rows(3)  # a single row: nobody knows for how long it counts
        any_site.rows(3, gauge="polytech")
        any_site.calibrate()
        assert any_site.depths() == pytest.approx([0.2 * 3.2355])
        listed = any_site.settings.site_dir / "gauges.yml"
        gauges = yaml.safe_load(listed.read_text())
        gauges["gauges"][0]["step_s"] = 180
        listed.write_text(yaml.safe_dump(gauges))
        assert (any_site.stale(), any_site.stale("polytech")) == ([0], [])
        assert any_site.calibrate().days_by_gauge == {"hydropolis": 1}
        assert any_site.depths() == pytest.approx([0.2 * 3 * 1.0769])
        assert any_site.stale() == []
        assert len(any_site.series().calibration) == 1, "a step is no version"

    def test_rebuild_computes_every_day(self, any_site: Site) -> None:
        any_site.rows(0, 1)
        any_site.rows(0, 1, at=NOON + timedelta(days=1))
        any_site.calibrate()
        before = any_site.table(rain_depths)
        assert any_site.calibrate(rebuild=True).days == 2
        assert any_site.table(rain_depths) == before

    def test_only_the_gauges_asked_for_are_computed(self, site: Site) -> None:
        site.rows(0, 1)
        site.rows(0, 1, gauge="polytech")
        assert site.calibrate(gauges="polytech").days_by_gauge == {"polytech": 1}
        assert site.stale() == [0]
        with pytest.raises(ParameterError, match="nobody"):
            site.calibrate(gauges="nobody")

    def test_counts_are_never_touched(self, any_site: Site) -> None:
        any_site.rows(0, 1, 5)
        before = any_site.table(rain_days)
        any_site.calibrate()
        any_site.calibrations({**RECORD, "mm_per_tip": 0.5})
        any_site.calibrate(rebuild=True)
        assert any_site.table(rain_days) == before

    def test_every_record_that_was_used_is_kept(self, any_site: Site) -> None:
        any_site.rows(0, 1)
        for mm in (0.2, 0.21, 0.22):
            any_site.calibrations({**RECORD, "mm_per_tip": mm}, OTHER)
            assert any_site.calibrate().new_records == 1
        kept = any_site.table(rain_calibrations)
        # That of the gauge without rows was not used.
        assert sorted(row[4]["mm_per_tip"] for row in kept) == [0.2, 0.21, 0.22]
        assert {row[1] for row in kept} == {"hydropolis"}
        current = any_site.series().calibration[0]
        (row,) = [row for row in kept if row[0] == current]
        assert row[4]["certificate"] == "No. 1"
        assert row[2] == datetime(2004, 1, 1, tzinfo=UTC)


class TestInterruptions:
    @pytest.fixture(autouse=True)
    def _one_day_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibrating, "DAYS_PER_BATCH", 1)

    def test_a_run_that_is_told_to_stop_leaves_the_rest_for_the_next(self, site: Site) -> None:
        for day in range(3):
            site.rows(0, 1, at=NOON + timedelta(days=day))
        stop = threading.Event()
        told: list[float] = []

        def progress(done: float, _: str) -> None:
            told.append(done)
            stop.set()

        report = site.calibrate(stop=stop, progress=progress)
        assert (report.days, report.left, report.complete) == (1, 2, False)
        assert told == [pytest.approx(1 / 3)]
        assert site.calibrate().days == 2
        assert site.stale() == []

    def test_a_cut_run_does_not_leave_a_first_row_with_an_interval_of_before(
        self, site: Site, store_rows: Rows
    ) -> None:
        store_rows(site.store, "hydropolis", [to_us(DAY)], [10])
        site.calibrate()
        store_rows(site.store, "hydropolis", [to_us(DAY - timedelta(seconds=50))], [0])

        def killed(*_: Any) -> None:
            raise RuntimeError("killed")

        with pytest.raises(RuntimeError):
            site.calibrate(progress=killed)
        site.calibrate()
        assert site.flags() == [0]

    def test_rows_that_arrive_meanwhile_are_calibrated_by_the_next_run(
        self, site: Site, store_rows: Rows
    ) -> None:
        store_rows(site.store, "hydropolis", [to_us(DAY)], [10])
        site.rows(0, 1, at=NOON - timedelta(days=1))
        arrived: list[float] = []

        def arrive(done: float, _: str) -> None:
            # The newer day is done; now the last row of the day before it comes.
            if not arrived:
                last = to_us(DAY - timedelta(seconds=50))
                store_rows(site.store, "hydropolis", [last], [2])
            arrived.append(done)

        site.calibrate(progress=arrive)
        assert site.stale() == [0, -1]
        site.calibrate()
        assert site.stale() == []
        assert site.flags() == [0, Flag.UNKNOWN_INTERVAL, 0]

    def test_a_damaged_day_is_named(self, site: Site) -> None:
        site.rows(0, 1)
        with write(site.store.data) as connection:
            connection.execute(rain_days.update().values(rows=b"torn"))
        with pytest.raises(StoreError, match="hydropolis, 2022-03-01"):
            site.calibrate()


class TestWithoutARecord:
    def test_rows_have_no_depth_a_flag_and_their_gauge_is_named(self, site: Site) -> None:
        site.calibrations(OTHER)
        site.rows(0, 1, 2)
        report = site.calibrate()
        assert np.isnan(site.depths()).all()
        assert site.flags() == [Flag.UNCALIBRATED] * 2
        assert (report.uncalibrated, report.without_record) == (2, ("hydropolis",))
        assert "no calibration of hydropolis" in report.trouble
        assert "rows without a depth, because none is in force: hydropolis 2" in report.trouble
        assert site.series().calibration == ()

    def test_the_nominal_depth_is_taken_only_on_the_site_s_word_and_flagged(
        self, make_site: Callable[..., Settings], store: Store, store_rows: Rows, now: datetime
    ) -> None:
        site = make(make_site, store, store_rows, now, uncalibrated="nominal")
        site.calibrations()
        site.rows(0, 1, 2)
        site.rows(0, 1, gauge="polytech")  # its nominal depth is unknown
        report = site.calibrate()
        assert site.depths() == pytest.approx([0.3, 0.6])
        assert site.flags() == [Flag.NOMINAL] * 2
        assert site.series().calibration == ("nominal:0.3",)
        assert site.flags("polytech") == [Flag.UNCALIBRATED]
        assert (report.nominal, report.uncalibrated) == (2, 1)

    def test_another_word_of_the_site_recomputes_what_had_no_record(
        self, make_site: Callable[..., Settings], store: Store, store_rows: Rows, now: datetime
    ) -> None:
        site = make(make_site, store, store_rows, now)
        since = NOON + timedelta(days=1)
        site.calibrations({**RECORD, "valid_from": since.isoformat()})
        for day in range(3):
            site.rows(0, 1, at=NOON + timedelta(days=day))
        site.calibrate()
        before = site.table(rain_depths)
        site = make(make_site, store, store_rows, now, uncalibrated="nominal")
        site.calibrations({**RECORD, "valid_from": since.isoformat()})
        assert site.stale() == [1, 0]
        site.calibrate()
        assert site.depths() == pytest.approx([0.3, 0.2 * 1.0769, 0.2 * 1.0769])
        assert site.table(rain_depths)[2] == before[2]

    def test_a_wrong_list_stops_the_run_and_changes_nothing(self, site: Site) -> None:
        site.rows(0, 1)
        site.calibrate()
        before = site.table(rain_depths)
        site.calibrations({**RECORD, "gauge": "hydropol"}, OTHER)
        with pytest.raises(ConfigError, match="no rain gauge 'hydropol'"):
            site.calibrate(rebuild=True)
        assert site.table(rain_depths) == before


class TestTheSeries:
    def test_it_holds_the_rows_after_its_start_up_to_its_end(self, site: Site) -> None:
        site.rows(1, 2, 3, 4)
        site.calibrate()
        gauge = site.network.gauge("hydropolis")
        found = queries.calibrated(site.store, [gauge], NOON, NOON + 2 * MIN)["hydropolis"]
        plain = queries.tips(site.store, [gauge], NOON, NOON + 2 * MIN)["hydropolis"]
        assert found.tips.tolist() == plain.tips.tolist() == [2, 3]
        assert found.t_us.tolist() == plain.t_us.tolist()
        assert found.rain_mm == pytest.approx([0.2 * 2.1554, 0.2 * 3.2355])
        assert found.coverage.start_us.tolist() == plain.coverage.start_us.tolist()

    def test_without_rows_it_is_empty(self, site: Site) -> None:
        assert site.depths() == []
        assert site.series().calibration == ()


class TestFaultsOfTheOriginal:
    def test_1_counts_are_not_millimetres(self, site: Site) -> None:
        """A count becomes millimetres only by a dated depth of a tip: 5 tips are not 5 mm."""
        site.calibrations({**RECORD, "kind": "linear", "coefficients": {"b": 1, "c": 0}})
        site.rows(0, 5)
        site.rows(0, 5, at=datetime(2003, 12, 31, 12, tzinfo=UTC))
        site.calibrate()
        series = site.series()
        assert series.tips.tolist() == [5]
        assert site.depths() == pytest.approx([1.0])
        early = queries.calibrated(
            site.store,
            [site.network.gauge("hydropolis")],
            datetime(2003, 12, 31, tzinfo=UTC),
            datetime(2004, 1, 1, tzinfo=UTC),
        )["hydropolis"]
        assert early.tips.tolist() == [5]
        assert early.rain_mm is not None
        assert np.isnan(early.rain_mm).all()

    def test_2_the_calibration_is_that_of_the_folder_s_gauge_never_of_the_inner_label(
        self,
        site: Site,
        a0: Callable[..., bytes],
        deliver: Callable[..., None],
        now: datetime,
    ) -> None:
        """The label inside says ARCHIEST; whose file it is says its folder."""
        content = a0(0, 1, 2)
        assert content.startswith(b"ARCHIEST")
        for folder in ("Hydropolis", "Polytech"):
            name = f"{folder[:8]}_010323_000400.txt"
            deliver(site.store, {f"{folder}/{name}": content})
        ingest(site.store, site.network, RainSettings(), source="rain", now=now)
        site.calibrate()
        gauges = site.network.gauges
        t_to = datetime(2023, 3, 2, tzinfo=UTC)
        found = queries.calibrated(site.store, gauges, t_to - timedelta(days=1), t_to)
        for gauge, mm in (("hydropolis", 0.2), ("polytech", 0.1)):
            assert found[gauge].rain_mm == pytest.approx([mm * 1.0769, mm * 2.1554])


def test_the_report_is_plain_values_and_a_frame(site: Site) -> None:
    site.rows(0, 1)
    report = site.calibrate()
    plain = report.to_dict()
    assert (plain["days"], plain["complete"], plain["file"]) == (1, True, "calibrations.yml")
    assert report.to_frame().loc["days of hydropolis", "calibration"] == 1


def test_the_real_files_of_march_2023_are_calibrated(
    site: Site, deliver: Callable[..., None], real_data: Path, now: datetime
) -> None:
    files = sorted((real_data / "rain/hsm").glob("Hydropol_*.txt"))
    deliver(site.store, {f"Hydropolis/{path.name}": path.read_bytes() for path in files})
    ingest(site.store, site.network, RainSettings(), source="rain", now=now)
    report = site.calibrate()
    assert (report.days, report.rows, report.trouble) == (1, 0, "")
    assert not site.stale()
