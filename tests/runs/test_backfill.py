"""Backfill runs the slots that are wanted, in order, and lets live runs pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.clock import iso
from workspace_lib.errors import ParameterError
from workspace_lib.runs import ledger
from workspace_lib.runs.backfill import MODES, Mode, backfill, backfill_slots, parse_edge
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.states import Outcome
from workspace_lib.runs.tick import tick
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPEC = JobSpec("job", notebook="n", schedule="0 * * * *")
SLOTS = [NOW - timedelta(hours=hours) for hours in range(6, 0, -1)]
WIDTHS = (("wide", 2), ("narrow", 1))
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def past(any_store: Store) -> Store:
    """A store in which slots were: missed, failed, succeeded, cancelled; two never came."""
    ends = ["skipped", "failed", "succeeded", "cancelled"]
    for slot, end in zip(SLOTS, ends, strict=False):
        with write(any_store.control) as connection:
            if end == "skipped":
                ledger.create_run(
                    connection, SPEC, slot, due=slot, now=NOW, state="skipped", cause="missed_slot"
                )
                continue
            run_id = ledger.create_run(connection, SPEC, slot, due=slot, now=NOW)
        assert run_id is not None
        if end == "cancelled":
            ledger.request_cancel(any_store, run_id, "ann", NOW)
            continue
        claim = ledger.claim_one(any_store, run_id, owner="t", now=NOW)
        assert claim is not None
        ledger.begin(any_store, run_id, 1, host="h", pid=1, now=NOW)
        cause = "notebook_error" if end == "failed" else None
        ledger.finish(any_store, run_id, 1, Outcome(end, cause), NOW)  # type: ignore[arg-type]
    return any_store


def due(store: Store) -> list[datetime | None]:
    return sorted(run.slot_at for run in ledger.list_runs(store, states=["due"]) if run.slot_at)


@pytest.mark.parametrize(
    ("mode", "created", "repeated"),
    [("none", [4, 5], [0]), ("failed", [4, 5], [0, 1, 3]), ("all", [4, 5], [0, 1, 2, 3])],
)
def test_each_mode_takes_its_slots(
    past: Store, mode: Mode, created: list[int], repeated: list[int]
) -> None:
    report = backfill(past, SPEC, SLOTS, mode, NOW)
    assert report.slots == 6
    assert (len(report.created), len(report.repeated)) == (len(created), len(repeated))
    assert due(past) == sorted(SLOTS[n] for n in created + repeated)


@pytest.mark.parametrize("mode", MODES)
def test_asked_twice_it_does_nothing_more(past: Store, mode: Mode) -> None:
    backfill(past, SPEC, SLOTS, mode, NOW)
    before = ledger.list_runs(past)
    assert backfill(past, SPEC, SLOTS, mode, NOW).run_ids == ()
    assert ledger.list_runs(past) == before


def test_a_slot_done_again_is_a_new_attempt(past: Store) -> None:
    backfill(past, SPEC, SLOTS[2:3], "all", NOW)
    (claim,) = ledger.claim(past, owner="t", now=NOW, limit=1)
    assert (claim.slot, claim.attempt) == (iso(SLOTS[2]), 2)


def test_slots_run_in_order_and_live_ones_pass(store: Store) -> None:
    jobset = JobSet({"job": SPEC}, (), {"job": SPEC.file})
    tick(store, jobset, NOW - timedelta(minutes=30))
    backfill(store, SPEC, SLOTS, "none", NOW)
    tick(store, jobset, NOW)
    order = []
    while claims := ledger.claim(store, owner="t", now=NOW, limit=1):
        (claim,) = claims
        order.append(claim.slot)
        ledger.begin(store, claim.run_id, 1, host="h", pid=1, now=NOW)
        ledger.finish(store, claim.run_id, 1, Outcome("succeeded"), NOW)
    assert order == [iso(NOW), *map(iso, SLOTS)]


def test_live_slots_do_not_push_a_backfill_aside(store: Store) -> None:
    jobset = JobSet({"job": SPEC}, (), {"job": SPEC.file})
    tick(store, jobset, NOW - timedelta(minutes=30))
    backfill(store, SPEC, SLOTS, "none", NOW)
    for hours in range(3):
        tick(store, jobset, NOW + timedelta(hours=hours))
    assert due(store) == [*SLOTS, NOW + timedelta(hours=2)]


def test_a_run_under_way_is_left_alone(store: Store) -> None:
    with write(store.control) as connection:
        ledger.create_run(connection, SPEC, SLOTS[0], due=SLOTS[0], now=NOW)
    ledger.claim(store, owner="t", now=NOW, limit=1)
    assert backfill(store, SPEC, SLOTS[:1], "all", NOW).run_ids == ()


def test_the_slots_are_those_of_the_schedule_up_to_now() -> None:
    found = backfill_slots(SPEC, {}, SLOTS[0], NOW + timedelta(days=3), NOW)
    assert found == [*SLOTS, NOW]


def test_a_chained_job_has_the_slots_of_its_first() -> None:
    second = JobSpec("second", notebook="n", on="job")
    third = JobSpec("third", notebook="n", on="second")
    specs = {spec.name: spec for spec in (SPEC, second, third)}
    assert backfill_slots(third, specs, SLOTS[0], SLOTS[-1], NOW) == SLOTS


def test_a_job_without_schedule_has_nothing_to_fill() -> None:
    with pytest.raises(ParameterError, match="no schedule"):
        backfill_slots(JobSpec("job", notebook="n"), {}, SLOTS[0], NOW, NOW)


def test_too_many_slots_are_refused() -> None:
    often = JobSpec("job", notebook="n", every_s=30)
    with pytest.raises(ParameterError, match="shorter"):
        backfill_slots(often, {}, NOW - timedelta(days=30), NOW, NOW)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-11-20", "2026-11-19T23:00:00Z", "2026-11-20T22:59:59.999999Z"),
        ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999999Z"),
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
    ],
)
def test_a_day_is_a_whole_local_day(text: str, first: str, last: str) -> None:
    assert iso(parse_edge(text, PARIS, end=False)) == first
    assert iso(parse_edge(text, PARIS, end=True)) == last


@pytest.mark.parametrize("text", ["2026-13-01", "yesterday", "2026-11-20T10:00:00"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_edge(text, PARIS, end=False)


def test_slots_that_depend_on_none_fan_out_and_a_live_one_needs_no_lane_of_theirs(
    any_store: Store,
) -> None:
    spec = JobSpec("job", notebook="n", schedule="0 * * * *", fan_out=2)
    jobset = JobSet({"job": spec}, (), {"job": spec.file})
    tick(any_store, jobset, NOW - timedelta(minutes=30))
    backfill(any_store, spec, SLOTS, "none", NOW)
    tick(any_store, jobset, NOW)
    claims = ledger.claim(any_store, owner="t", now=NOW, limit=9)
    assert [claim.slot for claim in claims] == [iso(NOW), iso(SLOTS[0]), iso(SLOTS[1])]
    ledger.begin(any_store, claims[2].run_id, 1, host="h", pid=1, now=NOW)
    ledger.finish(any_store, claims[2].run_id, 1, Outcome("succeeded"), NOW)
    (further,) = ledger.claim(any_store, owner="t", now=NOW, limit=9)
    assert further.slot == iso(SLOTS[3]), "the next of the lane that is free"


def test_the_chain_of_a_backfill_fans_out_as_its_own_job_allows(store: Store) -> None:
    first = JobSpec("job", notebook="n", schedule="0 * * * *", fan_out=3)
    wide, narrow = (JobSpec(name, notebook="n", on="job", fan_out=n) for name, n in WIDTHS)
    specs = {spec.name: spec for spec in (first, wide, narrow)}
    jobset = JobSet(specs, (), dict.fromkeys(specs, ""))
    tick(store, jobset, NOW)
    backfill(store, first, SLOTS[:3], "none", NOW)
    for claim in ledger.claim(store, owner="t", now=NOW, limit=9):
        ledger.begin(store, claim.run_id, 1, host="h", pid=1, now=NOW)
        ledger.finish(store, claim.run_id, 1, Outcome("succeeded"), NOW)
    tick(store, jobset, NOW)
    claimed = [claim.job for claim in ledger.claim(store, owner="t", now=NOW, limit=9)]
    assert sorted(claimed) == ["narrow", "wide", "wide"]


def test_what_an_interrupted_backfill_has_left_is_found_again(store: Store) -> None:
    left = backfill(store, SPEC, SLOTS, "none", NOW).created
    ledger.claim(store, owner="t", now=NOW, limit=1)
    report = backfill(store, SPEC, [*SLOTS, NOW], "none", NOW)
    assert report.pending == left
    assert len(report.created) == 1
