"""Stops and waits found in events: also those that do not pair."""

from __future__ import annotations

import time

import numpy as np
import pytest

from workspace_lib.machining.events import Event, Events, make_events
from workspace_lib.machining.pauses import (
    AnchorCheck,
    Loss,
    PauseKind,
    PauseMark,
    Pauses,
    check_anchor,
    disjoint,
    find_pauses,
)

S = 1_000_000
KINDS = {"p": Event.PIECE, "w": Event.WAIT, "stop": Event.STOP, "go": Event.START, "?": Event.OTHER}


def made(text: str, segments: list[int] | None = None) -> Events:
    """Make events of words such as ``stop@10`` and ``w@20:5``: kind, second and wait."""
    words = [word.split("@") for word in text.split()]
    t = [float(at.split(":")[0]) * S for _, at in words]
    seconds = [float(at.split(":")[1]) if ":" in at else np.nan for _, at in words]
    kind = np.array([KINDS[name] for name, _ in words], np.uint8)
    part = None if segments is None else np.array(segments, np.int32)
    return make_events(kind, np.array(t, np.int64), np.array(seconds), part)


def spans(pauses: Pauses, kind: PauseKind = PauseKind.STOP) -> list[tuple[float, float, PauseMark]]:
    return [
        (begin / S, end / S, PauseMark(mark))
        for begin, end, mark, of in zip(
            pauses.begin_us.tolist(),
            pauses.end_us.tolist(),
            pauses.marks.tolist(),
            pauses.kind.tolist(),
            strict=True,
        )
        if of == kind
    ]


NO = PauseMark(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go@0 p@10 stop@20 go@30 p@40", [(20, 30, NO)]),
        ("go@0 stop@20 stop@25 go@30", [(20, 30, PauseMark.REPEATED)]),
        (
            "go@0 stop@20 p@25 p@26 stop@40 go@50",
            [(20, 25, PauseMark.START_LOST), (40, 50, NO)],
        ),
        ("go@0 p@10 go@15 p@20", [(10, 15, PauseMark.STOP_LOST)]),
        ("go@0 p@10 stop@20 p@25", [(20, 25, PauseMark.START_LOST)]),
        ("go@0 p@10 stop@20 ?@24", [(20, 24, PauseMark.OPEN)]),
        ("go@0 p@10 stop@20", [(20, 20, PauseMark.OPEN)]),
        ("go@0 stop@20 p@25 go@30", [(20, 30, PauseMark.PIECES)]),
        ("stop@5 go@5 stop@5 go@9", [(5, 5, NO), (5, 9, NO)]),
    ],
)
def test_stops_pair_as_the_rules_say(text: str, expected: list[tuple[int, int, PauseMark]]) -> None:
    found = [span for span in spans(find_pauses(made(text))) if span[0] or span[1]]
    assert found == expected


def test_the_first_start_of_all_has_nothing_before_it() -> None:
    assert spans(find_pauses(made("go@7 p@10"))) == [(7, 7, PauseMark.STOP_LOST)]


def test_an_open_stop_goes_to_what_is_known_and_no_further() -> None:
    assert spans(find_pauses(made("go@0 stop@20"), until_us=100 * S))[1][:2] == (20, 100)


def test_a_clock_that_was_set_back_ends_a_stop() -> None:
    events = made("go@0 stop@20 ?@30 go@5 p@9", segments=[0, 0, 0, 1, 1])
    found = spans(find_pauses(events))
    assert (20, 30, PauseMark.OPEN) in found
    assert (5, 5, PauseMark.STOP_LOST) in found


def test_waits_lie_behind_or_before_their_line() -> None:
    events = made("p@0 w@20:5 p@40")
    assert spans(find_pauses(events), PauseKind.WAIT) == [(20, 25, NO)]
    assert spans(find_pauses(events, anchor="end"), PauseKind.WAIT) == [(15, 20, NO)]


def test_a_wait_never_goes_beyond_the_evidence() -> None:
    assert spans(find_pauses(made("p@0 w@20:500")), PauseKind.WAIT) == [(20, 20, NO)]
    later = find_pauses(made("p@0 w@20:500"), until_us=60 * S)
    assert spans(later, PauseKind.WAIT) == [(20, 60, NO)]


def test_a_wait_without_sense_counts_for_nothing_and_is_told() -> None:
    found = spans(find_pauses(made("p@0 w@20 w@30:999999999 p@90000")), PauseKind.WAIT)
    assert found == [(20, 20, PauseMark.NO_SECONDS), (30, 30, PauseMark.TOO_LONG)]


def test_the_anchor_that_the_pieces_fit_is_found() -> None:
    check = check_anchor(made("p@0 w@10:5 p@12 p@20 w@30:6 p@36 p@40"))
    assert check == AnchorCheck(waits=2, start=1, end=0)
    assert check.fits == "end"
    assert check_anchor(made("p@0 w@10:5 p@15")).fits is None
    assert check_anchor(made("p@8 w@10:5 p@15")).fits == "start"


def test_a_stop_is_an_own_loss_and_a_wait_an_induced_one() -> None:
    pauses = find_pauses(made("stop@10 go@20 w@30:5 p@40"))
    assert pauses.loss.tolist() == [Loss.OWN, Loss.INDUCED]
    assert pauses.length_us.tolist() == [10 * S, 5 * S]
    assert pauses.row.tolist() == [0, 2]


def test_pauses_that_overlap_are_cut() -> None:
    begin, end = np.array([0, 5, 6, 30]), np.array([20, 10, 25, 31])
    cut, ends, left = disjoint(begin, end)
    assert list(zip(cut[left], ends[left], strict=True)) == [(0, 20), (20, 25), (30, 31)]


def test_no_events_have_no_pauses() -> None:
    assert len(find_pauses(made(""))) == 0


def test_a_year_of_unpaired_stops_takes_no_time() -> None:
    kind = np.resize(np.array([Event.STOP, Event.STOP, Event.PIECE, Event.WAIT], np.uint8), 400_000)
    events = make_events(kind, np.arange(400_000) * S, np.full(400_000, 50_000.0))
    began = time.process_time()
    find_pauses(events)
    check_anchor(events)
    assert time.process_time() - began < 5
