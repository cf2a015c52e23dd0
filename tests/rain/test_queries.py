"""The read side: what the store knows of rain, with what is missing, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.clock import to_us
from workspace_lib.errors import DataQualityError
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import US, coverage_of
from workspace_lib.rain.settings import Network
from workspace_lib.rain.tables import rain_conflicts, rain_issues
from workspace_lib.store.engines import Store, write

START = datetime(2026, 10, 20, tzinfo=UTC)
MIN = 60 * US
Fill = Callable[..., None]


@pytest.fixture
def fill(store_rows: Callable[..., None]) -> Fill:
    """Store rows of a gauge at these minutes after the start, with these tips."""

    def put(store: Store, gauge: str, minutes: Any, tips: dict[int, int] | None = None) -> None:
        stamps = [to_us(START) + round(minute * MIN) for minute in minutes]
        counts = [(tips or {}).get(minute, 0) for minute in minutes]
        store_rows(store, gauge, stamps, counts, wind=7, battery_v=12.5)

    return put


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def test_tips_come_with_their_coverage(any_store: Store, fill: Fill, network: Network) -> None:
    fill(any_store, "hydropolis", [*range(1, 11), *range(21, 31)], {0: 9, 5: 2, 10: 1, 30: 4})
    found = queries.tips(any_store, network.gauges, at(5), at(30))
    one = found["hydropolis"]
    assert ((one.t_us - to_us(START)) // MIN).tolist() == [10, 30]
    assert one.tips.tolist() == [1, 4]
    assert one.mm_per_tip == 0.2
    assert ((one.coverage.start_us - to_us(START)) // MIN).tolist() == [5, 20]
    assert ((one.coverage.end_us - to_us(START)) // MIN).tolist() == [10, 30]
    assert len(found["polytech"].t_us) == 0
    assert found["polytech"].coverage.missing_share(to_us(at(5)), to_us(at(30))) == 1.0


def test_the_coverage_of_many_days_is_that_of_the_pure_function(
    any_store: Store, fill: Fill, network: Network
) -> None:
    rng = np.random.default_rng(2)
    minutes = np.flatnonzero(rng.random(3000) < 0.97) + rng.integers(-1, 2, 3000)[0] / 60
    fill(any_store, "polytech", minutes.tolist())
    gauge = network.gauge("polytech")
    expected = coverage_of(to_us(START) + np.round(minutes * MIN).astype(np.int64))
    whole = queries.coverage(any_store, gauge, at(-10), at(4000))
    assert np.array_equal(whole.start_us, expected.start_us)
    assert np.array_equal(whole.end_us, expected.end_us)
    for begin, end in ((0, 1), (100.5, 230), (1000, 1001.25), (2990, 3600)):
        part = queries.coverage(any_store, gauge, at(begin), at(end))
        limits = to_us(at(begin)), to_us(at(end))
        assert part.missing_share(*limits) == pytest.approx(expected.missing_share(*limits))


def test_a_row_just_after_the_end_covers_time_before_it(
    store: Store, fill: Fill, network: Network
) -> None:
    fill(store, "polytech", [1, 2, 3])
    gauge = network.gauge("polytech")
    covered = queries.coverage(store, gauge, at(1.5), at(2.5))
    assert covered.missing_share(to_us(at(1.5)), to_us(at(2.5))) == 0.0


def test_the_newest_row_of_each_gauge(any_store: Store, fill: Fill, network: Network) -> None:
    fill(any_store, "hydropolis", [1, 2])
    fill(any_store, "polytech", [1, 5])
    last = queries.last_rows(any_store, network.gauges)
    assert last["polytech"] == queries.LastRow(at(5), 12.5, 7)
    assert last["hydropolis"].t == at(2)
    assert queries.latest(any_store, network.gauges) == at(5)
    assert queries.as_of(any_store, network.choose("hydropolis")) == at(2)
    assert queries.span(any_store, network.gauge("polytech")) == (at(1), at(5))


def test_an_empty_store_says_so(store: Store, network: Network) -> None:
    assert queries.latest(store, network.gauges) is None
    assert queries.span(store, network.gauge("polytech")) is None
    with pytest.raises(DataQualityError, match="no rain data of hydropolis, polytech"):
        queries.as_of(store, network.gauges)


def test_days_are_local_and_the_last_one_is_judged_up_to_now(
    store: Store, fill: Fill, network: Network
) -> None:
    # 25 October 2026 has 25 hours in Paris; its midnight is 22:00 UTC the day before.
    first = 5 * 1440 - 120
    fill(store, "polytech", range(first - 1440 + 1, first + 25 * 60 - 75 + 1))
    shares = queries.daily_completeness(
        store, network.gauges, 3, at(first + 25 * 60 + 60), ZoneInfo("Europe/Paris")
    )
    assert list(shares) == [date(2026, 10, day) for day in (24, 25, 26)]
    assert shares[date(2026, 10, 24)]["polytech"] == 1.0
    assert shares[date(2026, 10, 25)]["polytech"] == pytest.approx(1 - 75 / (25 * 60))
    assert shares[date(2026, 10, 26)]["polytech"] == 0.0
    assert shares[date(2026, 10, 24)]["hydropolis"] == 0.0


def test_a_day_that_begins_right_now_does_no_harm(store: Store, network: Network) -> None:
    midnight = datetime(2026, 10, 19, 22, tzinfo=UTC)
    shares = queries.daily_completeness(
        store, network.gauges, 2, midnight, ZoneInfo("Europe/Paris")
    )
    assert list(shares) == [date(2026, 10, 19), date(2026, 10, 20)]


def test_the_newest_row_up_to_an_instant_leaves_out_later_ones(
    any_store: Store, fill: Fill, network: Network
) -> None:
    fill(any_store, "hydropolis", [0, 1, 2, 3000, 3001])
    fill(any_store, "polytech", [1])
    found = {
        minute: queries.latest(any_store, network.gauges, at(minute))
        for minute in (-1, 0, 1.5, 2999, 3000, 5000)
    }
    assert found == {-1: None, 0: at(0), 1.5: at(1), 2999: at(2), 3000: at(3000), 5000: at(3001)}
    with pytest.raises(DataQualityError):
        queries.as_of(any_store, network.gauges, at(-1))


def test_what_was_noticed_is_counted_by_gauge_and_code(any_store: Store, network: Network) -> None:
    issue = {"severity": "error", "message": "", "text": "", "file_id": 1, "gauge": "polytech"}
    conflict = {"tips": 1, "kept_tips": 2, "kept_file_id": 1, "policy": "keep first"}
    with write(any_store.data) as connection:
        connection.execute(
            rain_issues.insert(),
            [
                issue | {"line": line, "code": code, "noticed": at(line)}
                for line, code in ((1, "nul_bytes"), (2, "nul_bytes"), (3, "clock_reset"))
            ],
        )
        connection.execute(
            rain_conflicts.insert(),
            conflict | {"gauge": "polytech", "t": at(1), "file_id": 2, "line": 1, "noticed": at(1)},
        )
    every = queries.troubles(any_store, network.gauges)
    assert every["polytech"] == queries.Troubles(1, {"clock_reset": 1, "nul_bytes": 2})
    assert every["hydropolis"] == queries.Troubles(0, {})
    later = queries.troubles(any_store, network.gauges, since=at(2))
    assert later["polytech"] == queries.Troubles(0, {"clock_reset": 1, "nul_bytes": 1})


def test_every_code_of_a_refused_line_is_known_to_the_read_side() -> None:
    import inspect
    import re

    from workspace_lib.rain import grammar

    refused = set(re.findall(r'Refusal\(\s*"(\w+)"', inspect.getsource(grammar)))
    assert refused == set(queries.BAD_LINES)
