"""Settings of the rain wing and the list of gauges: what is wrong is named with its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.rain.settings import (
    Alias,
    Gauge,
    Network,
    load_network,
    load_rain,
)
from workspace_lib.settings import Settings

GAUGES = """
gauges:
  - {id: hydropolis, name: Hydropolis, folder: Hydropolis, mm_per_tip: 0.2, lat: 43.6, lon: 3.9}
  - id: polytech
    name: Polytech
    folder: Polytech
    aliases: [Poly, {name: ARCHIEST, valid_to: 2023-01-01T00:00:00Z}]
"""


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Callable[..., Settings]:
    """A site with these gauges and these settings of the wing."""

    def make(gauges: str | None = GAUGES, **rain: object) -> Settings:
        settings = make_site({"wings": {"rain": rain}})
        if gauges is not None:
            (settings.site_dir / "gauges.yml").write_text(gauges, encoding="utf-8")
        return settings

    return make


def test_defaults_hold_without_a_word_in_the_site(settings: Settings) -> None:
    rain = load_rain(settings)
    assert (rain.source, rain.gauges) == ("rain", "gauges.yml")
    assert rain.first_plausible == datetime(2005, 1, 1, tzinfo=UTC)


def test_a_misspelt_setting_is_named(site: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="sourse") as caught:
        load_rain(site(sourse="rain"))
    assert "wings.rain" in str(caught.value)


def test_gauges_come_from_the_file_of_the_site(site: Callable[..., Settings]) -> None:
    network = load_network(site(shared_folders=["A"]))
    assert [gauge.id for gauge in network.gauges] == ["hydropolis", "polytech"]
    assert network.gauge("hydropolis").mm_per_tip == 0.2
    assert network.gauge("polytech").mm_per_tip is None
    assert network.gauge("polytech").aliases[0] == Alias(name="Poly")
    assert network.is_shared("A/x")


@pytest.mark.parametrize(
    ("gauges", "message"),
    [
        (None, "cannot be read"),
        ("gauges: [", "not valid YAML"),
        ("gauges: [{id: Hydro Polis, name: x, folder: x}]", r"gauges\.0\.id"),
        ("gauges: [{id: a, name: x, folder: x, mm_per_tip: 0}]", "mm_per_tip"),
        ("gauges: [{id: a, name: x, folder: x}, {id: a, name: y, folder: y}]", "two gauges"),
        ("gauges: [{id: a, name: x, folder: x}, {id: b, name: y, folder: x}]", "two gauges"),
        ("[]", "wrong"),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(
    site: Callable[..., Settings], gauges: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_network(site(gauges))
    assert "gauges.yml" in str(caught.value)


def test_an_unknown_gauge_is_refused_and_the_known_are_named(
    site: Callable[..., Settings],
) -> None:
    network = load_network(site())
    with pytest.raises(ParameterError, match="hydropolis, polytech"):
        network.choose("hydropolis, mse")


def test_gauges_are_chosen_by_name_or_all(site: Callable[..., Settings]) -> None:
    network = load_network(site())
    assert network.choose("all") == network.gauges
    assert [gauge.id for gauge in network.choose("polytech,")] == ["polytech"]
    assert [gauge.id for gauge in network.choose(["polytech", "hydropolis"])] == [
        "polytech",
        "hydropolis",
    ]


def test_a_label_that_could_mean_two_gauges_means_none() -> None:
    network = Network(
        (
            Gauge(id="east", name="ARCHIEST1", folder="E"),
            Gauge(id="west", name="ARCHIEST2", folder="W"),
        )
    )
    assert network.by_label("ARCHIEST", None) is None


def test_the_deepest_folder_wins() -> None:
    network = Network(
        (
            Gauge(id="all", name="All", folder="data"),
            Gauge(id="one", name="One", folder="data/one"),
        )
    )
    found = network.by_folder("data/one/2023", None)
    assert found is not None
    assert found.id == "one"


def test_an_alias_holds_from_its_first_instant_and_not_at_its_last() -> None:
    alias = Alias(
        name="x",
        valid_from=datetime(2022, 1, 1, tzinfo=UTC),
        valid_to=datetime(2023, 1, 1, tzinfo=UTC),
    )
    assert alias.holds(datetime(2022, 1, 1, tzinfo=UTC))
    assert not alias.holds(datetime(2023, 1, 1, tzinfo=UTC))
    assert not alias.holds(datetime(2021, 12, 31, tzinfo=UTC))
    assert alias.holds(None)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({"P7min": [1, 2]}, "no window 'P7min'"),
        ({"P1h": [30, 15]}, "the lower one first"),
        ({"P1h": [0, 15]}, "above zero"),
    ],
)
def test_a_threshold_of_no_window_or_in_the_wrong_order_is_refused(
    site: Callable[..., Settings], levels: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_rain(site(thresholds_mm=levels))
