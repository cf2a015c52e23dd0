"""The original network's file becomes records: names, units, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import FormatError, ParameterError, WorkspaceError
from workspace_lib.rain.calibration import Calibration, Origin
from workspace_lib.rain.calibration_import import Imported, import_csv
from workspace_lib.rain.settings import Alias, Gauge, Network

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


def imported(content: str, **options: Any) -> Imported:
    values: dict[str, Any] = {
        "where": "calib.csv",
        "unit": "tips/min",
        "mm_per_tip": 0.2,
        "valid_from": START,
        "origin": Origin("calib.csv"),
    }
    return import_csv(content.encode(), NETWORK, **{**values, **options})


def test_a_line_is_a_quadratic_of_what_the_importer_says() -> None:
    (one,) = imported("pluvio,a,b,c\nCRBM,0.0008,1.0761,0\n").records
    assert one == Calibration(
        "crbm",
        START,
        None,
        0.2,
        "quadratic",
        "tips/min",
        {"a": 0.0008, "b": 1.0761, "c": 0},
        origin=Origin("calib.csv"),
    )


def test_two_spellings_with_equal_values_are_one_record() -> None:
    found = imported(
        "pluvio,a,b,c\nMse,0.0008,1.0761,0\nMSE,8e-4,1.0761,0.0\n"
        "RueBrives,0,1.1,0\nRue_Brives,0,1.1,0\n"
    )
    assert [one.gauge for one in found.records] == ["mse", "brives"]
    assert found.merged == {"mse": ("Mse", "MSE"), "brives": ("RueBrives", "Rue_Brives")}


def test_two_spellings_with_different_values_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"'MSE' \(line 3\) is mse, and differs"):
        imported("pluvio,a,b,c\nMse,0.0008,1.0761,0\nMSE,0.0009,1.0761,0\n")


@pytest.mark.parametrize(("at", "gauge"), [(None, "crbm"), (CHANGE, "cnrs")])
def test_a_name_means_the_gauge_that_had_it_then(at: Any, gauge: str) -> None:
    (one,) = imported("pluvio,a,b,c\nA,0,1,0\n", names_at=at).records
    assert one.gauge == gauge


def test_unknown_names_are_refused_all_at_once_or_left_out_and_told() -> None:
    content = "pluvio,a,b,c\nCHU1,0,1,0\nCNRS,0,1,0\nCHU2,0,1,0\n"
    with pytest.raises(ParameterError, match=r"'CHU1' \(line 2\), 'CHU2' \(line 4\)"):
        imported(content)
    found = imported(content, only_known=True)
    assert [one.gauge for one in found.records] == ["cnrs"]
    assert found.left_out == ("CHU1", "CHU2")


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble() -> None:
    assert len(imported("\ufeffpluvio, a, b, c\r\nCRBM, 0, 1, 0\r\n\r\n").records) == 1


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("", "calib.csv:1"),
        ("name,a,b\nCRBM,0,1\n", "calib.csv:1"),
        ("pluvio,a,b,c\nCRBM,0,1\n", "calib.csv:2"),
        ("pluvio,a,b,c\nCRBM,0,1,0\nMse,0,na,0\n", "calib.csv:3"),
    ],
)
def test_another_file_is_refused_with_its_line(content: str, where: str) -> None:
    with pytest.raises(FormatError, match=where):
        imported(content)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(WorkspaceError, match="finite"):
        imported("pluvio,a,b,c\nCRBM,0,nan,0\n")


def test_the_real_file_of_the_network_gives_its_19_gauges_a_record(real_data: Path) -> None:
    listed = (real_data / "rain/hsm/Pluvio_Mtp_Prob.csv").read_text().splitlines()[1:]
    names = [line.partition(",")[0].strip('"') for line in listed]
    others = {"Mse": "MSE", "RueBrives": "Rue_Brives", "ARCHIOUEST": "ARCHIEST"}
    gauges = tuple(
        Gauge(
            id=f"g_{name.lower()}",
            name=name,
            folder=name,
            aliases=(Alias(name=others[name]),) if name in others else (),
        )
        for name in names
    )
    file = real_data / "rain/hsm/calib_network.csv"
    options: dict[str, Any] = {
        "where": str(file),
        "unit": "tips/min",
        "mm_per_tip": 0.2,
        "valid_from": START,
        "origin": Origin(file.name),
    }
    # The file has a gauge that the network's own list has not.
    with pytest.raises(ParameterError, match="'CBGP'"):
        import_csv(file.read_bytes(), Network(gauges), **options)
    found = import_csv(file.read_bytes(), Network(gauges), **options, only_known=True)
    assert {one.gauge for one in found.records} == {gauge.id for gauge in gauges}
    assert len(found.records) == 19
    assert found.left_out == ("CBGP",)
    assert {frozenset(pair) for pair in found.merged.values()} == {
        frozenset(pair) for pair in others.items()
    }
    assert {one.formula for one in found.records} == {"y = 0.0008 x² + 1.0761 x"}


def test_the_real_first_file_has_one_gauge(real_data: Path) -> None:
    file = real_data / "rain/hsm/calib.csv"
    network = Network((Gauge(id="hydropolis", name="Hydropolis", folder="H"),))
    (one,) = import_csv(
        file.read_bytes(),
        network,
        where=str(file),
        unit="mm/h",
        mm_per_tip=0.2,
        valid_from=START,
        origin=Origin(),
    ).records
    assert one.correct([100])[0] == pytest.approx([115.61])
