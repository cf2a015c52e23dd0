"""Whose a file is, with the real names of the network of nineteen gauges, which changed."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workspace_lib.rain.ingest import identify
from workspace_lib.rain.readers import parse_a0
from workspace_lib.rain.settings import Alias, Gauge, Network

#: Until when the logger called ARCHIEST stood at ARCHIOUEST, in this test; then it was moved.
MOVED = datetime(2023, 1, 1, tzinfo=UTC)
ALIASES = {
    "Hydropolis": (Alias(name="ARCHIEST", valid_from=MOVED),),
    "ARCHIOUEST": (Alias(name="ARCHIEST", valid_to=MOVED),),
    "Mse": (Alias(name="MSE"),),
    "RueBrives": (Alias(name="Rue_Brives"),),
}


@pytest.fixture
def real_network(real_data: Path) -> Network:
    """The nineteen gauges of the original's list, with the names they had besides."""
    with (real_data / "rain/hsm/Pluvio_Mtp_Prob.csv").open(encoding="utf-8") as stream:
        names = [row["site"] for row in csv.DictReader(stream)]
    gauges = [
        Gauge(id=name.lower(), name=name, folder=name, aliases=ALIASES.get(name, ()))
        for name in names
    ]
    return Network(tuple(gauges), shared_folders=("A",))


def owner(network: Network, path: str) -> str | None:
    gauge, _ = identify(network, path)
    return gauge.id if gauge else None


def test_each_gauge_is_known_by_its_folder_and_by_its_cut_label(real_network: Network) -> None:
    assert len(real_network.gauges) == 19
    for gauge in real_network.gauges:
        name = f"{gauge.name[:8]}_010323_000400.txt"
        assert owner(real_network, f"{gauge.folder}/{name}") == gauge.id
        assert owner(real_network, f"A/{name}") == gauge.id


def test_the_label_inside_a_real_file_decides_nothing(
    real_network: Network, real_data: Path
) -> None:
    name = "Hydropol_010323_000400.txt"
    record = parse_a0((real_data / "rain/hsm" / name).read_bytes(), name)
    assert record.meta["label"] == ["ARCHIEST"]
    assert owner(real_network, f"Hydropolis/{name}") == "hydropolis"
    assert owner(real_network, f"A/{name}") == "hydropolis"


@pytest.mark.parametrize(
    ("day", "gauge"), [("311222", "archiouest"), ("010123", "hydropolis"), ("010323", "hydropolis")]
)
def test_a_name_that_moved_means_the_gauge_of_its_time(
    day: str, gauge: str, real_network: Network
) -> None:
    assert owner(real_network, f"ARCHIEST/ARCHIEST_{day}_000400.txt") == gauge
    assert owner(real_network, f"A/ARCHIEST_{day}_000400.txt") == gauge


def test_a_name_of_two_gauges_in_one_year_means_neither(real_network: Network) -> None:
    assert owner(real_network, "history/ARCHIEST_concatenated_2022.csv") == "archiouest"
    assert owner(real_network, "history/ARCHIEST_concatenated_2023.csv") == "hydropolis"
    moved = Alias(name="ARCHIEST", valid_from=datetime(2022, 7, 1, tzinfo=UTC))
    gauges = [
        gauge.model_copy(update={"aliases": (moved,)}) if gauge.id == "hydropolis" else gauge
        for gauge in real_network.gauges
    ]
    assert owner(Network(tuple(gauges)), "history/ARCHIEST_concatenated_2022.csv") is None


def test_a_yearly_file_is_known_by_its_name_in_any_spelling_of_the_list(
    real_network: Network,
) -> None:
    for name, gauge in (("Mse", "mse"), ("MSE", "mse"), ("Rue_Brives", "ruebrives")):
        assert owner(real_network, f"x/{name}_concatenated_2024.csv") == gauge
    assert owner(real_network, "CNRS/2024/CNRS_concatenated_2024.csv") == "cnrs"
    assert owner(real_network, "CNRS/Mse_concatenated_2024.csv") is None


def test_the_names_of_the_calibration_file_that_no_gauge_has_are_told(
    real_network: Network, real_data: Path
) -> None:
    with (real_data / "rain/hsm/calib_network.csv").open(encoding="utf-8") as stream:
        names = [row["pluvio"] for row in csv.DictReader(stream)]
    unknown = [name for name in names if real_network.by_name(name, 2024) is None]
    assert (len(names), unknown) == (23, ["CBGP"])
