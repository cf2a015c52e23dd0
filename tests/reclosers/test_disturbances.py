"""One fault, seen by several reclosers: who tripped, who saw it, between which it is."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.clock_quality import Reading, correct_time
from workspace_lib.reclosers.disturbances import (
    Disturbance,
    Network,
    Place,
    Section,
    Sighting,
    disturbances,
    sighting_of,
)
from workspace_lib.reclosers.incidents import incidents, operation_of
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.simulator_fleet import Happening, Post
from workspace_lib.reclosers.simulator_fleet import Network as SimulatedNetwork

START = datetime(2026, 3, 1, 12, 50, tzinfo=UTC)
# A main line of three, and a branch behind the first:
#
#   station ── R1 ──┬── R2 ── R3
#                   └── B1
LINE = (
    Place("R1", (), "F12"),
    Place("R2", ("R1",), "F12"),
    Place("R3", ("R2",), "F12"),
    Place("B1", ("R1",), "F12"),
    Place("X9", (), "F99"),
)
NETWORK = Network(LINE)


def seen(recloser: str, after_s: float = 0.0, **values: Any) -> Sighting:
    """An incident of a recloser that saw an AG fault and reclosed, unless said otherwise."""
    start = START + timedelta(seconds=after_s)
    given = {"tripped": True, "outcome": "momentary", "within_s": 0.1, "fault_type": "AG"}
    return Sighting(recloser, start, start + timedelta(seconds=1), **{**given, **values})


def watched_only(recloser: str, after_s: float = 0.0, **values: Any) -> Sighting:
    """An incident of a recloser that saw the fault and stayed closed."""
    return seen(recloser, after_s, tripped=False, outcome="unknown", **values)


def one(*sightings: Sighting, **values: Any) -> Disturbance:
    (found,) = disturbances(sightings, NETWORK, **values)
    return found


def test_a_fault_is_between_the_last_that_saw_it_and_the_next() -> None:
    found = one(watched_only("R1"), seen("R2", 0.2))
    assert (found.tripped, found.only_saw) == (("R2",), ("R1",))
    assert found.sections == (Section("R2", before=("R3",)),)
    assert found.miscoordinations == ()


def test_at_a_fork_it_is_before_each_of_the_next() -> None:
    assert one(seen("R1")).sections == (Section("R1", before=("B1", "R2")),)


def test_behind_the_last_recloser_it_is_up_to_the_end() -> None:
    found = one(watched_only("R1"), watched_only("R2"), seen("R3"))
    assert found.sections == (Section("R3"),)


def test_of_reclosers_that_nobody_reads_nothing_is_said() -> None:
    found = one(seen("R1"), watched={"R1", "R3", "B1"})
    assert found.sections == (Section("R1", before=("B1", "R3"), unknown=("R2",)),)


def test_a_trip_that_saw_no_fault_has_no_place() -> None:
    found = one(seen("R2", fault_type=None))
    assert found.sections == ()
    assert (found.patrol.needed, found.patrol.why) == ("unknown", "no_fault")


def test_a_recloser_that_was_opened_by_hand_needs_no_patrol_for_that() -> None:
    found = one(seen("R2", fault_type=None, outcome="permanent"))
    assert (found.outcome, found.patrol.needed) == ("permanent", "unknown")
    assert found.patrol.why == "no_fault"


def test_incidents_of_one_line_within_seconds_are_one() -> None:
    assert len(disturbances([seen("R1"), seen("R2", 2.9)], NETWORK)) == 1
    assert len(disturbances([seen("R1"), seen("R2", 3.5)], NETWORK)) == 2


def test_how_far_they_may_be_apart_grows_with_what_clocks_are_off() -> None:
    apart = [seen("R1"), seen("R2", 30.0)]
    assert len(disturbances(apart, NETWORK)) == 2
    doubtful = [seen("R1", within_s=20.0), seen("R2", 30.0, within_s=8.0)]
    assert len(disturbances(doubtful, NETWORK)) == 1
    never_compared = [seen("R1", within_s=None), seen("R2", 30.0)]
    assert len(disturbances(never_compared, NETWORK)) == 2
    assert len(disturbances(never_compared, NETWORK, unknown_within_s=40.0)) == 1


def test_an_incident_that_began_long_before_still_overlaps() -> None:
    long = Sighting("R1", START, START + timedelta(seconds=60), True, "momentary", 0.1, "AG")
    found = disturbances([long, seen("X9", 5.0), seen("R2", 50.0)], NETWORK)
    assert [tuple(s.recloser for s in each.sightings) for each in found] == [("R1", "R2"), ("X9",)]


def test_other_lines_are_other_faults() -> None:
    assert len(disturbances([seen("R1"), seen("X9")], NETWORK)) == 2


def test_branches_are_joined_only_by_a_recloser_above_that_saw_it() -> None:
    assert len(disturbances([seen("R2"), seen("B1")], NETWORK)) == 2
    found = one(seen("R2"), seen("B1"), watched_only("R1"))
    assert {section.after for section in found.sections} == {"R2", "B1"}


def test_where_no_place_is_known_the_feeder_joins() -> None:
    network = Network(
        [Place("A", feeder="MTL"), Place("B", feeder="MTL"), Place("C", feeder="LAV")]
    )
    found = disturbances([seen("A"), seen("B", 0.5), seen("C", 0.5)], network)
    assert [each.tripped for each in found] == [("A", "B"), ("C",)]
    assert Network([]).related("A", "B") is False


def test_two_incidents_of_one_recloser_are_not_joined_by_themselves() -> None:
    assert len(disturbances([seen("R1"), seen("R1", 1.5)], NETWORK)) == 2


def test_an_upstream_trip_for_a_fault_downstream_is_told() -> None:
    missed = one(seen("R1", outcome="permanent"), watched_only("R2"))
    assert [(m.kind, m.upstream, m.downstream) for m in missed.miscoordinations] == [
        ("downstream_did_not_trip", "R1", "R2")
    ]
    both = one(seen("R1"), seen("R2"))
    assert [m.kind for m in both.miscoordinations] == ["both_tripped"]
    assert one(seen("R1"), seen("R2", fault_type=None)).miscoordinations == ()


@pytest.mark.parametrize(
    ("sightings", "outcome", "needed", "why"),
    [
        ([seen("R2", outcome="permanent"), watched_only("R1")], "permanent", "yes", "locked_out"),
        ([seen("R2"), watched_only("R1")], "momentary", "no", "reclosed"),
        ([seen("R2", outcome="unknown")], "unknown", "unknown", "end_unknown"),
        ([watched_only("R1"), watched_only("R2")], "unknown", "unknown", "cleared_elsewhere"),
        ([seen("R1"), seen("R2", outcome="permanent")], "permanent", "yes", "locked_out"),
    ],
)
def test_whether_a_patrol_must_go(
    sightings: list[Sighting], outcome: str, needed: str, why: str
) -> None:
    found = one(*sightings)
    assert (found.outcome, found.patrol.needed, found.patrol.why) == (outcome, needed, why)


def test_a_patrol_knows_where_to_look() -> None:
    found = one(
        watched_only("R1", distance=9.0, distance_low=8.0, distance_high=10.0),
        seen("R2", outcome="permanent", distance=4.2, distance_low=3.9, distance_high=4.6),
    )
    patrol = found.patrol
    assert (patrol.recloser, patrol.fault_type, patrol.distance) == ("R2", "AG", 4.2)
    assert (patrol.distance_low, patrol.distance_high) == (3.9, 4.6)
    assert patrol.sections == (Section("R2", before=("R3",)),)


def test_the_order_of_incidents_changes_nothing() -> None:
    many = [seen(name, 40.0 * n) for n in range(6) for name in ("R1", "R2", "X9")]
    wanted = disturbances(many, NETWORK)
    random.Random(2).shuffle(many)
    assert disturbances(many, NETWORK) == wanted
    assert len(wanted) == 12


def test_everything_goes_to_json() -> None:
    told = json.loads(json.dumps(one(watched_only("R1"), seen("R2", key=7)).to_dict()))
    assert told["started"] == "2026-03-01T12:50:00+00:00"
    assert told["sightings"][1]["key"] == 7
    assert told["patrol"]["sections"][0]["before"] == ["R3"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="through itself"):
        Network([Place("A", ("B",)), Place("B", ("A",))])
    with pytest.raises(ParameterError, match="not negative"):
        disturbances([], NETWORK, tolerance_s=-1)
    backwards = Sighting("R1", START, START - timedelta(seconds=1), True)
    with pytest.raises(ParameterError, match="ends before"):
        disturbances([backwards], NETWORK)


def test_nothing_is_no_disturbance() -> None:
    assert disturbances([], NETWORK) == []


# --- a simulated network --------------------------------------------------------------------------

ZONE = ZoneInfo("America/Montreal")
POSTS = [
    Post("R1"),
    Post("R2", "651R", ("R1",), 0.7),
    Post("R3", "351R", ("R2",), -1.2),
    Post("B1", "651R", ("R1",), 2.0),
    Post("S1"),
    Post("S2", "351R", ("S1",), -0.4),
]


def incident_of(post: Post, happened: list[Happening], at: datetime, key: int) -> Sighting:
    """What one relay's events of a fault make, its clock compared two hours before and after."""
    analyses = [analyse_event(parse_cev(one.event.cev_of("C")).data) for one in happened]
    hosts = [at.astimezone(UTC) + timedelta(hours=hours) for hours in (-2, 2)]
    readings = [Reading(host, post.clock_error_s, 0.1) for host in hosts]
    stamps = [device_time(one.event.time, 0, 3) for one in happened]
    times = [correct_time(one, ZONE, readings) for one in stamps]
    for one, time in zip(happened, times, strict=True):
        assert time.within_s is not None
        assert abs((time.utc - one.at).total_seconds()) <= time.within_s + 1e-3
    trips = [trip for one in analyses if (trip := operation_of(post.id, one))]
    outcome = incidents(trips)[0].outcome if trips else "unknown"
    return sighting_of(post.id, analyses, times, outcome, key)


def test_faults_of_a_simulated_network_are_found_where_they_were() -> None:
    simulated = SimulatedNetwork(POSTS, ZONE, 3)
    dice = np.random.default_rng(1)
    truth: list[list[Happening]] = []
    sightings = []
    for number in range(25):
        at = datetime(2026, 5, 1, tzinfo=ZONE) + timedelta(hours=number)
        truth.append(simulated.fault(at, dice))
        for post in POSTS:
            happened = [one for one in truth[-1] if one.recloser == post.id]
            if happened:
                sightings.append(incident_of(post, happened, at, number))
    network = Network(Place(post.id, post.upstream) for post in POSTS)
    found = disturbances(sightings, network)
    assert [one.sightings[0].key for one in found] == list(range(25))
    for one, happened in zip(found, truth, strict=True):
        assert {each.recloser for each in one.sightings} == {each.recloser for each in happened}
        assert set(one.tripped) == {each.recloser for each in happened if each.event.opens}
        if happened[0].event.kind == "ER":
            assert (one.sections, one.patrol.why) == ((), "no_fault")
            continue
        # It befell the recloser that all others feed.
        (struck,) = [
            post.id
            for post in POSTS
            if post.id in {each.recloser for each in happened}
            and not any(network.feeds(post.id, each.recloser) for each in happened)
        ]
        assert one.sections == (Section(struck, before=network.below(struck)),)
        locked = any(each.event.lockout for each in happened)
        assert one.outcome == ("permanent" if locked else "momentary")
        assert one.patrol.needed == ("yes" if locked else "no")
        assert one.patrol.fault_type == happened[0].event.kind
        assert bool(one.miscoordinations) == (len(one.tripped) > 1)


def test_a_sighting_needs_events_and_their_times() -> None:
    with pytest.raises(ParameterError, match="one time for each"):
        sighting_of("R1", [], [])
