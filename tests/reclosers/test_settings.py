"""Settings of the reclosers wing and the list of reclosers: what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.reclosers.settings import (
    archive_root,
    load_fleet,
    load_reclosers,
    zone_of,
)
from workspace_lib.settings import Settings

FLEET = """
gateways:
  - {id: smp_1, host: gateway-1}
reclosers:
  - {id: LAV-1, ced: LAV, gateway: smp_1, url: "socket://gateway-1:5001"}
  - {id: LAV-2, ced: LAV, url: COM3, line: radio, upstream: [LAV-1]}
  - {id: MAT-1, ced: MAT, remote: false}
"""


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Callable[..., Settings]:
    """A site with this fleet and these settings of the wing."""

    def make(fleet: str | None = FLEET, **reclosers: object) -> Settings:
        settings = make_site({"wings": {"reclosers": reclosers}})
        if fleet is not None:
            (settings.site_dir / "reclosers.yml").write_text(fleet, encoding="utf-8")
        return settings

    return make


def test_reclosers_come_from_the_file_of_the_site(site: Callable[..., Settings]) -> None:
    fleet = load_fleet(site())
    assert fleet.ceds == ("LAV", "MAT")
    first = fleet.recloser("LAV-1")
    gateway = fleet.gateway_of(first)
    assert gateway is not None
    assert gateway.host == "gateway-1"
    assert fleet.gateway_of(fleet.recloser("MAT-1")) is None


def test_characters_that_wake_a_relay_are_four_that_can_be_typed(
    site: Callable[..., Settings],
) -> None:
    entry = "reclosers: [{{id: A-1, ced: LAV, url: COM1, wake: {0}}}]"
    assert load_fleet(site(entry.format("'AB#1'"))).recloser("A-1").wake == "AB#1"
    for wrong in ("ABCDE", "'A B'", "été"):
        with pytest.raises(ConfigError, match="wake"):
            load_fleet(site(entry.format(wrong)))


def test_a_production_site_takes_no_simulated_recloser(make_site: Callable[..., Settings]) -> None:
    settings = make_site({"production": True})
    (settings.site_dir / "reclosers.yml").write_text(
        "reclosers: [{id: A-1, ced: LAV, url: 'simulator://reclosers/A-1'}]", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="production"):
        load_fleet(settings)


def test_what_one_session_at_a_time_may_use_is_the_shared_line_or_its_own(
    site: Callable[..., Settings],
) -> None:
    fleet = load_fleet(site())
    assert fleet.recloser("LAV-1").line_id == "tcp:gateway-1:5001"
    assert fleet.recloser("LAV-2").line_id == "line:radio"


def test_reclosers_are_chosen_by_territory_and_by_name(site: Callable[..., Settings]) -> None:
    fleet = load_fleet(site())

    def chosen(ced: str = "all", reclosers: str = "all") -> list[str]:
        return [one.id for one in fleet.choose(ced, reclosers)]

    assert chosen() == ["LAV-1", "LAV-2", "MAT-1"]
    assert chosen("LAV") == ["LAV-1", "LAV-2"]
    assert chosen("LAV, MAT", "LAV-2,LAV-2") == ["LAV-2"]


@pytest.mark.parametrize(
    ("ced", "reclosers", "message"),
    [
        ("MTL", "all", "territory 'MTL'.*Known territories: LAV, MAT"),
        ("all", "LAV-9", "recloser 'LAV-9'.*Known reclosers: LAV-1, LAV-2, MAT-1"),
        ("LAV", "MAT-1", "MAT-1 is not in LAV.*Reclosers there: LAV-1, LAV-2"),
        ("all", "", "No recloser is named.*Write all"),
        (" ", "all", "No territory is named"),
    ],
)
def test_whoever_does_not_exist_is_refused_and_the_known_are_named(
    site: Callable[..., Settings], ced: str, reclosers: str, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        load_fleet(site()).choose(ced, reclosers)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{id: A 1, ced: LAV, url: COM1}", "id"),
        ("{id: A, ced: laval, url: COM1}", "ced"),
        ("{id: A, ced: LAV}", "A has no url"),
        ("{id: A, ced: LAV, url: 'socket://gateway'}", "A: .*no host and port"),
        ("{id: A, ced: LAV, url: COM1, gateway: g}", "gateway 'g', which is not listed"),
        ("{id: A, ced: LAV, url: COM1, upstream: [B]}", "'B' upstream, which is not listed"),
        ("{id: A, ced: LAV, url: COM1, timezone: Mars}", "unknown time zone 'Mars'"),
        ("{id: A, ced: LAV, url: COM1, wake: ABCDE}", "wake"),
        ("{id: A, ced: LAV, url: COM1, password: OTTER}", "password: .*secret://NAME"),
        (
            "{id: A, ced: LAV, url: COM1, report: HIS C}",
            "0.report: .*'HIS C' are no words",
        ),
        ("{id: A, ced: LAV, url: COM1}, {id: a, ced: LAV, url: COM2}", "two reclosers"),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(
    site: Callable[..., Settings], entry: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_fleet(site(f"reclosers: [{entry}]"))
    assert "reclosers.yml" in str(caught.value)
    assert "OTTER" not in str(caught.value)


def test_a_missing_list_says_what_to_make(site: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="one entry per recloser"):
        load_fleet(site(None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"comands": []}, "comands"),
        ({"commands": ["HIS C"]}, "not sent to a relay.*words that clear or set. See"),
        ({"reports": {"651": "S128 R; HIS C"}}, "are no words"),
        ({"reports": {"SEL-651R": "C"}}, "unknown model 'SEL-651R'; write 351, 651 or others"),
        ({"timezone": "Mars"}, "unknown time zone"),
    ],
)
def test_a_wrong_setting_is_named(
    site: Callable[..., Settings], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_reclosers(site(**settings))
    assert "wings.reclosers" in str(caught.value)


def test_a_relays_clock_keeps_its_own_zone_else_the_wings_else_the_sites(
    site: Callable[..., Settings],
) -> None:
    settings = site()
    recloser = load_fleet(settings).recloser("LAV-1")
    wing = load_reclosers(settings)
    assert zone_of(recloser, wing, settings) == ZoneInfo("Europe/Paris")
    montreal = wing.model_copy(update={"timezone": "America/Montreal"})
    assert zone_of(recloser, montreal, settings) == ZoneInfo("America/Montreal")
    own = recloser.model_copy(update={"timezone": "UTC"})
    assert zone_of(own, montreal, settings) == ZoneInfo("UTC")


def test_the_archive_is_in_the_outputs_or_where_the_site_says(
    site: Callable[..., Settings],
) -> None:
    settings = site()
    assert archive_root(load_reclosers(settings), settings) == (
        settings.outputs_dir / "raw" / "reclosers"
    )
    elsewhere = load_reclosers(site(archive="/mnt/events"))
    assert archive_root(elsewhere, settings).as_posix() == "/mnt/events"
