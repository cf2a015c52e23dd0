"""Faults of a simulated network: each relay has what it would have of them."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.clock import parse_instant
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.simulator_events import Options, SimulatedEvent
from workspace_lib.reclosers.simulator_fleet import CAPACITY, Happening, Network, Post, insert

PARIS = ZoneInfo("Europe/Paris")
NOW = parse_instant("2026-03-20T12:00:00Z")
#: A feeder of three: C is fed through B, B through A; D is another feeder.
POSTS = (Post("A"), Post("B", "651R", ("A",)), Post("C", "351R", ("B",)), Post("D", "651R"))


def faults(count: int, posts: tuple[Post, ...] = POSTS, seed: int = 3) -> list[list[Happening]]:
    network = Network(posts, PARIS, seed)
    dice = np.random.default_rng(seed)
    return [network.fault(NOW, dice) for _ in range(count)]


def own_of(fault: list[Happening]) -> list[Happening]:
    """What the recloser nearest to the fault has: the one with the most trips."""
    return max(
        ([one for one in fault if one.recloser == post.id] for post in POSTS),
        key=lambda own: sum(one.event.opens for one in own),
    )


def test_history_is_the_same_whenever_it_is_asked_for_and_ends_now() -> None:
    first = Network(POSTS, PARIS).history(NOW, 12)
    assert first == Network(POSTS, PARIS).history(NOW, 12)
    assert sum(map(len, first.values())) > 8
    later = Network(POSTS, PARIS).history(NOW + timedelta(days=2), 14)
    for name, events in first.items():
        assert later[name][-len(events) :] == events or not events
        assert all(event.time <= NOW.astimezone(PARIS).replace(tzinfo=None) for event in events)
        assert events == sorted(events, key=lambda one: one.time, reverse=True)


def test_another_seed_gives_other_faults() -> None:
    assert Network(POSTS, PARIS, 1).history(NOW, 30) != Network(POSTS, PARIS, 2).history(NOW, 30)


def test_a_relay_keeps_so_many_events_and_no_more() -> None:
    busy = Network(POSTS, PARIS).history(NOW, 600)
    assert max(map(len, busy.values())) == CAPACITY


def test_reclosers_towards_the_source_see_the_fault_and_others_do_not() -> None:
    seen = 0
    for fault in faults(60):
        names = {one.recloser for one in fault}
        if fault[0].event.kind == "ER":
            assert len(names) == 1
        elif "C" in names:
            assert names == {"A", "B", "C"}
            seen += 1
        else:
            assert names in ({"A"}, {"A", "B"}, {"D"})
        assert len({one.event.kind for one in fault}) == 1
        assert max(one.at for one in fault) - min(one.at for one in fault) < timedelta(seconds=30)
    assert seen > 5


def test_permanent_faults_end_in_lockout_and_momentary_ones_do_not() -> None:
    ends = {True: 0, False: 0}
    for fault in faults(60):
        if fault[0].event.kind == "ER":
            continue
        own = own_of(fault)
        shots = [one.event.shot for one in own]
        assert shots == list(range(len(own)))
        locked = [one.event.lockout for one in own]
        assert not any(locked[:-1])
        assert locked[-1] == (len(own) == 4)
        ends[locked[-1]] += 1
    assert ends[True] > 5
    assert ends[False] > 20


def test_a_recloser_that_does_not_trip_stays_closed_and_goes_on_carrying_load() -> None:
    event = SimulatedEvent("351R", NOW.replace(tzinfo=None), "AG", open_s=0.08, trips=False)
    record = parse_cev(event.cev(Options(16, raw=True))).data
    assert event.type == record.summary["EVENT"] == "AG"
    after = record.t_s - record.trigger_s > 0.1
    during = (record.t_s - record.trigger_s > 0) & (record.t_s - record.trigger_s < 0.07)
    assert record.bit("52A")[4:].all()
    assert not record.bit("TRIP").any()
    load = np.abs(record.channel("IA")[after]).max()
    assert load == pytest.approx(event.load_a, rel=0.1)
    assert np.abs(record.channel("IA")[during]).max() > 3 * load


def test_a_clock_that_is_wrong_shows_in_the_times_of_its_events() -> None:
    right = faults(20, (Post("A"),))
    wrong = faults(20, (Post("A", clock_error_s=252.0),))
    for one, other in zip(right, wrong, strict=True):
        assert other[0].at == one[0].at
        assert other[0].event.time - one[0].event.time == timedelta(seconds=252)


def test_times_are_those_of_the_zone() -> None:
    first = faults(1)[0][0]
    assert first.event.time == first.at.astimezone(PARIS).replace(tzinfo=None)


def test_an_event_is_put_where_its_time_belongs_and_the_oldest_goes() -> None:
    start = NOW.replace(tzinfo=None)
    events = [SimulatedEvent("351R", start - timedelta(hours=n), "AG") for n in range(CAPACITY)]
    late = SimulatedEvent("351R", start - timedelta(minutes=90), "BG")
    oldest = events[-1]
    insert(events, late)
    insert(events, late)
    assert events[2] is late
    assert len(events) == CAPACITY
    assert oldest not in events
