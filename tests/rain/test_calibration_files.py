"""The site's list of calibrations: reading it, adding to it, and the command that imports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from workspace_lib.cli import main
from workspace_lib.errors import ConfigError
from workspace_lib.rain.calibration import Calibration
from workspace_lib.rain.calibration_files import (
    append_calibrations,
    load_calibrations,
    parse_calibrations,
    to_yaml,
)
from workspace_lib.rain.settings import Alias, Gauge, Network
from workspace_lib.settings import Settings, load_settings

START = datetime(2004, 1, 1, tzinfo=UTC)
CHANGE = datetime(2023, 1, 1, tzinfo=UTC)
NETWORK = Network(
    (
        Gauge(id="mse", name="Mse", folder="Verdanson/MSE"),
        Gauge(
            id="brives",
            name="Rue Brives",
            folder="RueBrives",
            aliases=(Alias(name="Rue_Brives"),),
        ),
        Gauge(id="crbm", name="CRBM", folder="CRBM", aliases=(Alias(name="A", valid_to=CHANGE),)),
        Gauge(id="cnrs", name="CNRS", folder="CNRS", aliases=(Alias(name="A", valid_from=CHANGE),)),
    )
)
ENTRY: dict[str, Any] = {
    "gauge": "crbm",
    "valid_from": "2004-01-01T00:00:00Z",
    "mm_per_tip": 0.2,
    "kind": "quadratic",
    "x": "tips/min",
    "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
    "source": {"certificate": "No. 17", "date": date(2003, 12, 1), "operator": "A. Martin"},
}


def listed(*entries: dict[str, Any]) -> str:
    return yaml.safe_dump({"calibrations": list(entries)})


def parsed(*entries: dict[str, Any]) -> list[Calibration]:
    return parse_calibrations(listed(*entries), NETWORK, "calibrations.yml")


class TestTheList:
    def test_an_entry_is_a_record(self) -> None:
        (one,) = parsed(ENTRY)
        assert (one.gauge, one.valid_from, one.valid_to) == ("crbm", START, None)
        assert (one.kind, one.unit, one.mm_per_tip) == ("quadratic", "tips/min", 0.2)
        assert one.coefficients == {"a": 0.0008, "b": 1.0761, "c": 0.0}
        assert str(one.origin) == "No. 17, 2003-12-01, A. Martin"

    def test_a_tip_may_be_given_as_it_was_weighed(self) -> None:
        bucket = {"tip_ml": [3.408, 3.434], "funnel_cm2": 213.82465}
        (one,) = parsed({**ENTRY, "mm_per_tip": bucket})
        assert one.mm_per_tip == pytest.approx(0.159991, abs=1e-6)

    def test_a_certificate_of_errors_is_a_table_of_measured_and_true(self) -> None:
        table = {
            **ENTRY,
            "kind": "table",
            "x": "mm/h",
            "errors_percent": [[50, -2.0], [100, -8.0]],
            "beyond": "clamp",
        }
        del table["coefficients"]
        (one,) = parsed(table)
        assert one.correct([49, 92])[0] == pytest.approx([50, 100])
        assert one.domain == pytest.approx((49, 92))

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"gauge": "crmb"}, "no rain gauge 'crmb'"),
            ({"x": "tips"}, "tips/min"),
            ({"x": None}, "x: Input should be"),
            ({"valid_from": "2004-01-01T00:00:00"}, "timezone"),
            ({"coefficients": {"a": 1}}, "has a, b, c"),
            ({"coefficients": {"a": 1, "b": "much", "c": 0}}, "coefficients.b"),
            ({"mm_per_tip": -0.2}, "depth of a tip"),
            ({"mm_per_tips": 0.2}, "mm_per_tips"),
            ({"source": None}, "source"),
            ({"points": [[1, 1]], "errors_percent": [[1, 1]]}, "either points or errors_percent"),
        ],
    )
    def test_a_wrong_entry_is_named_with_its_number_and_its_gauge(
        self, change: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            parsed(ENTRY, {**ENTRY, "valid_from": "2030-01-01T00:00:00Z", **change})
        assert "calibrations.yml" in str(caught.value)
        assert "entry 2 (cr" in str(caught.value)
        assert problem in str(caught.value)

    def test_every_wrong_entry_is_named_at_once(self) -> None:
        with pytest.raises(ConfigError, match=r"entry 1 .*entry 3 "):
            parsed({**ENTRY, "kind": "cubic"}, ENTRY, {**ENTRY, "gauge": "nobody"})

    def test_two_records_of_a_gauge_in_force_at_once_are_refused(self) -> None:
        later = {**ENTRY, "valid_from": "2010-01-01T00:00:00Z"}
        with pytest.raises(ConfigError, match=r"entry 2 \(crbm\).*in force at once"):
            parsed(ENTRY, later)
        assert len(parsed({**ENTRY, "valid_to": "2010-01-01T00:00:00Z"}, later)) == 2
        assert len(parsed(ENTRY, {**later, "gauge": "cnrs"})) == 2

    @pytest.mark.parametrize("text", ["", "# nothing yet\n", "calibrations: []\n"])
    def test_an_empty_list_has_no_records(self, text: str) -> None:
        assert parse_calibrations(text, NETWORK, "x") == []

    @pytest.mark.parametrize("text", ["calibration: []", "- gauge: x", "calibrations: {a: 1}"])
    def test_another_file_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="one key, calibrations"):
            parse_calibrations(text, NETWORK, "x")

    def test_what_is_not_yaml_is_refused_with_its_line(self) -> None:
        with pytest.raises(ConfigError, match=r"calibrations\.yml:2"):
            parse_calibrations("calibrations:\n  - {gauge: x", NETWORK, "calibrations.yml")


def test_the_example_of_the_page_is_a_valid_list(repository: Path) -> None:
    page = (repository / "docs" / "rain.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\ncalibrations:\n")[2].partition("```")[0]
    network = Network((Gauge(id="hydropolis", name="Hydropolis", folder="H"),))
    old, new = parse_calibrations(f"calibrations:\n{text}", network, "docs/rain.md")
    assert (old.unit, new.unit, new.kind) == ("tips/min", "mm/h", "table")
    assert new.mm_per_tip == pytest.approx(0.2, abs=0.001)


def test_the_demo_calibrates_all_its_gauges(repository: Path) -> None:
    calibrations = load_calibrations(load_settings(repository / "parameters" / "demo"))
    assert all(one.records for one in calibrations.values())


class TestTheSite:
    @pytest.fixture
    def site(self, make_site: Callable[..., Settings]) -> Callable[..., Settings]:
        """A site of two gauges with these entries."""

        def make(*entries: dict[str, Any], **rain: Any) -> Settings:
            settings = make_site({"timezone": "Europe/Paris", "wings": {"rain": rain}})
            gauges = [
                {"id": "crbm", "name": "CRBM", "folder": "CRBM", "mm_per_tip": 0.2},
                {"id": "cnrs", "name": "CNRS", "folder": "CNRS", "mm_per_tip": 0.1},
            ]
            folder = settings.site_dir
            (folder / "gauges.yml").write_text(yaml.safe_dump({"gauges": gauges}))
            if entries:
                (folder / "calibrations.yml").write_text(listed(*entries))
            return settings

        return make

    def test_a_gauge_without_a_record_has_no_depth(self, site: Callable[..., Settings]) -> None:
        found = load_calibrations(site(ENTRY))
        assert [one.gauge for one in found["crbm"].records] == ["crbm"]
        assert found["cnrs"].records == ()
        assert found["cnrs"].fallback == "uncalibrated"

    def test_the_nominal_depth_holds_only_where_the_site_says_so(
        self, site: Callable[..., Settings]
    ) -> None:
        found = load_calibrations(site(uncalibrated="nominal"))
        assert (found["crbm"].fallback, found["cnrs"].fallback) == ("nominal:0.2", "nominal:0.1")

    def test_another_name_of_the_file_may_be_set(self, site: Callable[..., Settings]) -> None:
        settings = site(ENTRY, calibrations="lab/depths.yml")
        assert load_calibrations(settings)["crbm"].records == ()
        (settings.site_dir / "lab").mkdir()
        (settings.site_dir / "calibrations.yml").rename(settings.site_dir / "lab/depths.yml")
        assert len(load_calibrations(settings)["crbm"].records) == 1

    def test_the_command_prints_entries_or_adds_them_once(
        self,
        site: Callable[..., Settings],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings = site(ENTRY)
        monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
        file = tmp_path / "calib.csv"
        file.write_text("pluvio,a,b,c\nCNRS,0.0008,1.0761,0\nELSEWHERE,1,1,1\n")
        call = ["--site", settings.site_name, "rain", "import-calibration", str(file)]
        call += ["--valid-from", "2004-01-01T00:00:00Z", "--mm-per-tip", "0.1"]
        assert main(call) == 1
        assert "no gauge is called 'ELSEWHERE' (line 3)" in capsys.readouterr().err
        assert main([*call, "--only-known"]) == 0
        printed = capsys.readouterr()
        assert "ELSEWHERE: left out" in printed.err
        assert yaml.safe_load(printed.out)["calibrations"][0]["x"] == "tips/min"
        assert len(load_calibrations(settings)["cnrs"].records) == 0
        for new in (1, 0):
            assert main([*call, "--only-known", "--write", "--unit", "mm/min"]) == 0
            assert f"{new} calibrations added" in capsys.readouterr().out
        (one,) = load_calibrations(settings)["cnrs"].records
        assert (one.unit, one.mm_per_tip, one.valid_from) == ("mm/min", 0.1, START)
        assert one.origin.certificate.startswith("calib.csv, sha256 ")

    def test_the_command_says_what_is_wrong_with_its_words(
        self,
        site: Callable[..., Settings],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings = site()
        monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
        call = ["--site", settings.site_name, "rain", "import-calibration", "nowhere.csv"]
        call += ["--mm-per-tip", "0.1", "--valid-from"]
        assert main([*call, "2004-01-01T00:00:00Z"]) == 1
        assert "nowhere.csv: It cannot be read" in capsys.readouterr().err
        (tmp_path / "calib.csv").write_text("pluvio,a,b,c\n")
        call[4] = str(tmp_path / "calib.csv")
        assert main([*call, "yesterday"]) == 1
        assert "'yesterday' is not a time" in capsys.readouterr().err
        assert main([*call, "2004-01-01T00:00:00Z", "--date", "soon"]) == 1
        assert "'soon' is not a day" in capsys.readouterr().err


class TestWritingTheList:
    EVERY_KIND = (
        ENTRY,
        {
            **ENTRY,
            "gauge": "cnrs",
            "valid_to": "2010-01-01T00:00:00Z",
            "kind": "power",
            "x": "mm/h",
            "coefficients": {"b": 0.9, "n": 1.05},
            "domain": [1, 200],
            "beyond": "refuse",
            "source": {"certificate": "étalonnage: 3"},
        },
        {
            "gauge": "mse",
            "valid_from": "2004-01-01T00:00:00.5Z",
            "mm_per_tip": 0.1234567890123,
            "kind": "table",
            "x": "mm/h",
            "points": [[1, 1.1], [10, 11.5], [100, 120]],
            "beyond": "clamp",
            "source": {"operator": "B"},
        },
    )

    def test_what_is_written_reads_back_as_it_was(self) -> None:
        records = parsed(*self.EVERY_KIND)
        text = f"calibrations:\n{to_yaml(records)}"
        assert parse_calibrations(text, NETWORK, "x") == records

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "# mine\ncalibrations:\n",
            "# mine\ncalibrations: []\n",
            "# mine\ncalibrations:\n- {gauge: crbm, valid_from: 1999-01-01T00:00:00Z, "
            "valid_to: 2000-01-01T00:00:00Z, mm_per_tip: 0.2, kind: linear, x: mm/h, "
            "coefficients: {b: 1, c: 0}, source: {}}",
            "# mine\ncalibrations:\n    - gauge: crbm\n      valid_from: 1999-01-01T00:00:00Z\n"
            "      valid_to: 2000-01-01T00:00:00Z\n      mm_per_tip: 0.2\n      kind: linear\n"
            "      x: mm/h\n      coefficients: {b: 1, c: 0}\n      source: {}\n\n# end\n",
        ],
    )
    def test_entries_are_added_below_what_stands_there(
        self, tmp_path: Path, text: str | None
    ) -> None:
        path = tmp_path / "calibrations.yml"
        if text is not None:
            path.write_text(text)
        records = parsed(*self.EVERY_KIND)
        before = parse_calibrations(text or "", NETWORK, "x")
        assert append_calibrations(path, records, NETWORK) == 3
        after = path.read_text(encoding="utf-8")
        assert parse_calibrations(after, NETWORK, "x") == [*before, *records]
        assert after.count("calibrations:") == 1
        assert ("# mine" in after) == ("# mine" in (text or ""))
        assert append_calibrations(path, records, NETWORK) == 0
        assert path.read_text(encoding="utf-8") == after

    def test_nothing_is_written_that_would_be_wrong(self, tmp_path: Path) -> None:
        path = tmp_path / "calibrations.yml"
        path.write_text(listed(ENTRY))
        other = parsed({**ENTRY, "valid_from": "2010-01-01T00:00:00Z"})
        with pytest.raises(ConfigError, match="in force at once"):
            append_calibrations(path, other, NETWORK)
        assert path.read_text() == listed(ENTRY)

    def test_a_list_on_one_line_is_left_to_its_author(self, tmp_path: Path) -> None:
        path = tmp_path / "calibrations.yml"
        path.write_text(yaml.safe_dump({"calibrations": [ENTRY]}, default_flow_style=True))
        before = path.read_text()
        with pytest.raises(ConfigError):
            append_calibrations(path, parsed({**ENTRY, "gauge": "cnrs"}), NETWORK)
        assert path.read_text() == before
