"""What people say about stops: a list of edits that only grows, over periods that never change.

An edit gives a period a reason, splits it, comments on it, or reverts an earlier edit. What a
period is now follows from the periods and the edits alone, so that it can be made again whenever
the log is read anew; the periods that the log gave stay as they are. An edit whose period is no
longer there is kept and told, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from workspace_lib.clock import iso
from workspace_lib.errors import ParameterError
from workspace_lib.machining.losses import StopTime
from workspace_lib.machining.pauses import Loss, PauseKind, PauseMark, Pauses
from workspace_lib.machining.reasons import UNQUALIFIED, ReasonTree
from workspace_lib.machining.states import State, States

Action = Literal["assign", "split", "comment", "revert"]

#: Longer comments are refused.
LONGEST_COMMENT = 2000


@dataclass(frozen=True)
class Edit:
    """One thing that somebody did, at an instant.

    Parameters
    ----------
    number : int
        1, 2, 3 … in the order of the list.
    at_us : int
        When it was done [µs since 1970 UTC].
    who : str
    action : str
    key : str
        The period, as `keys` names them; for a revert that of the edit it reverts.
    part_us : int
        Where the part begins that it is about [µs]; the period's begin if it was never split.
    reason : str
        For assign: the code of a reason; empty takes the reason away.
    split_us : int
        For split: where the second part begins [µs].
    text : str
        For comment, or why something was done.
    reverts : int
        For revert: the number of an edit.
    """

    number: int
    at_us: int
    who: str
    action: Action
    key: str
    part_us: int = 0
    reason: str = UNQUALIFIED
    split_us: int = 0
    text: str = ""
    reverts: int = 0


@dataclass(frozen=True)
class Part:
    """A period or a part of one as people see it now.

    ``pause`` is its place in the periods; ``edits`` are the numbers of the edits that made it what
    it is; ``begin_us``, ``end_us`` [µs since 1970 UTC].
    """

    key: str
    pause: int
    begin_us: int
    end_us: int
    reason: str = UNQUALIFIED
    comments: tuple[str, ...] = ()
    edits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Edited:
    """Periods after all edits: parts by begin, and the edits that fit no period any more."""

    parts: tuple[Part, ...]
    orphans: tuple[Edit, ...]


@dataclass(frozen=True)
class AuditLine:
    """One edit as the audit trail tells it: reasons of the part before and after."""

    edit: Edit
    before: str
    after: str
    in_force: bool


def keys(pauses: Pauses) -> tuple[str, ...]:
    """Return a name for each period that lasts when the log grows: kind, begin, which of equals.

    The end is no part of it, since that of an open stop moves.
    """
    found, seen = [], dict[str, int]()
    for kind, begin in zip(pauses.kind.tolist(), pauses.begin_us.tolist(), strict=True):
        name = f"{PauseKind(kind).name.lower()}-{begin}"
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(found)


def apply_edits(pauses: Pauses, edits: Sequence[Edit]) -> Edited:
    """Return what the periods are after edits, in the order of their numbers."""
    mine = _by_key(edits)
    parts: list[Part] = []
    orphans: list[Edit] = []
    for whole in _wholes(pauses):
        now, lost = _replay(whole, mine.pop(whole.key, ()))
        parts += now
        orphans += lost
    for rest in mine.values():
        orphans += _in_force(rest)
    return Edited(
        tuple(sorted(parts, key=lambda part: (part.begin_us, part.pause))),
        tuple(sorted(orphans, key=lambda edit: edit.number)),
    )


def append_edit(
    pauses: Pauses, edits: Sequence[Edit], edit: Edit, reasons: ReasonTree
) -> tuple[Edit, ...]:
    """Return the list with one more edit, which gets its number.

    Raises
    ------
    ParameterError
        If it is impossible: the sentence says what, where and how to mend it.
    """
    where = f"{edit.action} of {edit.key}"
    if not edit.who.strip():
        raise ParameterError("An edit needs a name of who made it.", where=where)
    if len(edit.text) > LONGEST_COMMENT:
        raise ParameterError(
            f"The text has {len(edit.text)} characters.",
            where=where,
            fix=f"Write at most {LONGEST_COMMENT}.",
        )
    if edits and edit.at_us < edits[-1].at_us:
        raise ParameterError(
            f"It is dated {iso(edit.at_us)}, before the last edit at {iso(edits[-1].at_us)}.",
            where=where,
            fix="Check the clock of this machine.",
        )
    if edit.action == "revert":
        edit = replace(edit, key=_check_revert(edits, edit))
    else:
        _check_part(pauses, edits, edit, reasons, where)
    return (*edits, replace(edit, number=len(edits) + 1))


def audit(pauses: Pauses, edits: Sequence[Edit]) -> tuple[AuditLine, ...]:
    """Return for each edit what it changed, and whether it is still in force."""
    wholes = {whole.key: whole for whole in _wholes(pauses)}
    by_number = {edit.number: edit for edit in edits}
    lines = []
    for key, mine in _by_key(edits).items():
        whole = wholes.get(key)
        now = {edit.number for edit in _in_force(mine)}
        if whole is not None:
            now -= {edit.number for edit in _replay(whole, mine)[1]}
        for place, edit in enumerate(mine):
            about = by_number[edit.reverts] if edit.action == "revert" else edit
            before, after = (
                _reason_of(whole, mine[:until], about.part_us) for until in (place, place + 1)
            )
            in_force = edit.action == "revert" or (edit.number in now and whole is not None)
            lines.append(AuditLine(edit, before, after, in_force))
    return tuple(sorted(lines, key=lambda line: line.edit.number))


def edited_pauses(pauses: Pauses, edited: Edited, reasons: ReasonTree) -> Pauses:
    """Return the parts as periods again, with the losses that their reasons say.

    A part keeps the length of the whole period, so that splitting makes no micro-stop. A reason
    that the tree no longer has changes nothing.
    """
    parts = edited.parts
    of = np.array([part.pause for part in parts], np.int64)
    loss = pauses.loss[of]
    for place, part in enumerate(parts):
        given = reasons[part.reason].loss if part.reason in reasons else None
        if given is not None:
            loss[place] = given
    return Pauses(
        begin_us=np.array([part.begin_us for part in parts], np.int64),
        end_us=np.array([part.end_us for part in parts], np.int64),
        kind=pauses.kind[of],
        marks=pauses.marks[of],
        loss=loss,
        length_us=pauses.length_us[of],
        row=pauses.row[of],
        pieces=pauses.pieces[of],
    )


def stop_times(states: States, edited: Edited, reasons: ReasonTree) -> tuple[StopTime, ...]:
    """Return the time of stops and waits by reason, as the states have them: for the Pareto.

    ``states`` have to be made of `edited_pauses`. What has no reason is named by what it is.
    """
    lost = (states.state == State.STOP) | (states.state == State.WAIT)
    length, place = (states.end_us - states.begin_us)[lost], states.pause[lost]
    places, first, back = np.unique(place, return_index=True, return_inverse=True)
    total = np.zeros(len(places), np.int64)
    np.add.at(total, back, length)
    kinds = states.state[lost][first]
    found = []
    for which, us, state in zip(places.tolist(), total.tolist(), kinds.tolist(), strict=True):
        code = edited.parts[which].reason
        if code in reasons:
            found.append(StopTime(reasons.category(code), reasons[code].text, us))
        else:
            found.append(StopTime(State(state).name.lower(), code or "unqualified", us))
    return tuple(found)


def _wholes(pauses: Pauses) -> list[Part]:
    columns = (keys(pauses), pauses.begin_us.tolist(), pauses.end_us.tolist())
    return [
        Part(key, place, begin, end)
        for place, (key, begin, end) in enumerate(zip(*columns, strict=True))
    ]


def _by_key(edits: Iterable[Edit]) -> dict[str, list[Edit]]:
    found: dict[str, list[Edit]] = {}
    for edit in edits:
        found.setdefault(edit.key, []).append(edit)
    return found


def _in_force(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits that nobody has reverted, without the reverts."""
    gone = {edit.reverts for edit in edits if edit.action == "revert"}
    return [edit for edit in edits if edit.action != "revert" and edit.number not in gone]


def _replay(whole: Part, edits: Sequence[Edit]) -> tuple[list[Part], list[Edit]]:
    """Return the parts of one period after its edits, and the edits that do not fit."""
    parts, orphans = [whole], []
    for edit in _in_force(edits):
        place = next((n for n, part in enumerate(parts) if part.begin_us == edit.part_us), None)
        if place is None or (edit.action == "split" and not _splits(parts[place], edit)):
            orphans.append(edit)
        else:
            parts[place : place + 1] = _change(parts[place], edit)
    return parts, orphans


def _splits(part: Part, edit: Edit) -> bool:
    return part.begin_us < edit.split_us < part.end_us


def _change(part: Part, edit: Edit) -> list[Part]:
    part = replace(part, edits=(*part.edits, edit.number))
    if edit.action == "assign":
        part = replace(part, reason=edit.reason)
    if edit.text:
        part = replace(part, comments=(*part.comments, edit.text))
    if edit.action == "split":
        return [replace(part, end_us=edit.split_us), replace(part, begin_us=edit.split_us)]
    return [part]


def _reason_of(whole: Part | None, edits: Sequence[Edit], part_us: int) -> str:
    parts = _replay(whole, edits)[0] if whole else []
    return next((p.reason for p in reversed(parts) if p.begin_us <= part_us), UNQUALIFIED)


def _check_revert(edits: Sequence[Edit], edit: Edit) -> str:
    """Return the key of the period whose edit is reverted."""
    where = f"revert of edit {edit.reverts}"
    target = next((one for one in edits if one.number == edit.reverts), None)
    if target is None or target.action == "revert":
        raise ParameterError(
            f"There is no edit {edit.reverts} that can be reverted.",
            where=where,
            fix="Name an assignment, a split or a comment; do again what was reverted.",
        )
    mine = _in_force([one for one in edits if one.key == target.key])
    if target not in mine:
        raise ParameterError("It is reverted already.", where=where)
    made = (target.part_us, target.split_us)
    later = [str(one.number) for one in mine if one.number > target.number and one.part_us in made]
    if target.action == "split" and later:
        raise ParameterError(
            "Its parts were edited since.",
            where=where,
            fix=f"Revert first: {', '.join(reversed(later))}.",
        )
    return target.key


def _check_part(
    pauses: Pauses, edits: Sequence[Edit], edit: Edit, reasons: ReasonTree, where: str
) -> None:
    whole = next((one for one in _wholes(pauses) if one.key == edit.key), None)
    if whole is None:
        raise ParameterError(
            "There is no such period.", where=where, fix="Load the stops again: the log has grown."
        )
    marks = int(pauses.marks[whole.pause])
    if marks & (PauseMark.NO_SECONDS | PauseMark.TOO_LONG):
        raise ParameterError(
            "The log does not say how long it was, so that it counts for nothing.", where=where
        )
    parts = _replay(whole, [one for one in edits if one.key == edit.key])[0]
    part = next((one for one in parts if one.begin_us == edit.part_us), None)
    if part is None:
        begins = ", ".join(iso(one.begin_us) for one in parts)
        raise ParameterError(
            f"No part of it begins at {iso(edit.part_us)}.",
            where=where,
            fix=f"Its parts begin at {begins}.",
        )
    if edit.action == "split" and not _splits(part, edit):
        raise ParameterError(
            f"{iso(edit.split_us)} is not inside it.",
            where=where,
            fix=f"Split between {iso(part.begin_us)} and {iso(part.end_us)}.",
        )
    if edit.action == "comment" and not edit.text.strip():
        raise ParameterError("The comment is empty.", where=where)
    if edit.action == "assign":
        _check_reason(part, edit.reason, int(pauses.pieces[whole.pause]), reasons, where)


def _check_reason(part: Part, code: str, pieces: int, reasons: ReasonTree, where: str) -> None:
    if code == part.reason:
        raise ParameterError(f"It has the reason {code!r} already.", where=where)
    if code == UNQUALIFIED:
        return
    loss = reasons[code].loss if code in reasons else None
    if loss is None:
        usable = ", ".join(reason.code for reason in reasons.usable())
        raise ParameterError(
            f"{code!r} is no reason that a stop can have.", where=where, fix=f"Use one of {usable}."
        )
    if loss == Loss.NONE and not pieces:
        raise ParameterError(
            "No piece was made in it, so that the machine did not run.",
            where=where,
            fix="Choose a reason of a stop.",
        )
