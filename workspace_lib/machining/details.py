"""What the details of events say: seconds of a wait, reference, length and colour of a job."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.lines import JOB, WAIT, ParsedLines

_SECONDS = re.compile(r"(\d{1,9}(?:[.,]\d{1,9})?)[ \t]{0,3}s(?:ec(?:ond(?:e?s)?)?)?\.?", re.I)
_MARK = re.compile(r"(?<!\S)([RLC]):", re.I)
#: What nearly all jobs look like: found at once.
_USUAL = re.compile(r"R:([^\s:]+) L:(\d{1,9}(?:[.,]\d{1,9})?) C:([^\s:]+(?: [^\s:]+)*)")
_LENGTH = re.compile(r"\d{1,9}(?:[.,]\d{1,9})?")
#: Longer texts are no lengths, references or colours.
_LONGEST: Final = 200

Value = TypeVar("Value")


@dataclass(frozen=True)
class JobProfile:
    """A bar to be worked on; empty or None is what the machine did not write.

    ``length_mm`` [mm].
    """

    reference: str
    length_mm: float | None
    colour: str


def parse_wait(details: str) -> float | None:
    """Return the seconds of a wait [s], or None if the details are none.

    A number without a unit is none: it may be the begin of a longer one.

    Examples
    --------
    >>> parse_wait("12,5 sec")
    12.5
    """
    found = _SECONDS.fullmatch(details.strip()) if len(details) <= _LONGEST else None
    return float(found[1].replace(",", ".")) if found else None


def parse_job(details: str) -> JobProfile | None:
    """Return reference, length and colour of a job, or None if the details name none of them.

    The values go up to the next mark, so that they may hold blanks, points and dashes.

    Examples
    --------
    >>> parse_job("R:215023 L:3359.0 C:7016 G ALU")
    JobProfile(reference='215023', length_mm=3359.0, colour='7016 G ALU')
    """
    if len(details) > _LONGEST:
        return None
    usual = _USUAL.fullmatch(details)
    if usual is not None:
        reference, millimetres, colour = usual.groups()
        return JobProfile(reference, float(millimetres.replace(",", ".")), colour)
    marks = list(_MARK.finditer(details))
    ends = [mark.start() for mark in marks[1:]] + [len(details)]
    values: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        values.setdefault(mark[1].upper(), details[mark.end() : end].strip())
    if not any(values.values()):
        return None
    length = _LENGTH.fullmatch(values.get("L", ""))
    return JobProfile(
        values.get("R", ""),
        float(length[0].replace(",", ".")) if length else None,
        values.get("C", ""),
    )


def wait_seconds(lines: ParsedLines) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of waits and their seconds [s], NaN where the details are none."""
    rows = lines.rows(WAIT)
    seconds, places = _each_once(lines.details_array(rows), parse_wait)
    return rows, np.array(seconds, np.float64)[places]  # None becomes NaN


def job_profiles(lines: ParsedLines) -> tuple[NDArray[np.int64], list[JobProfile | None]]:
    """Return the rows of jobs and what each says; equal details give the same object."""
    rows = lines.rows(JOB)
    jobs, places = _each_once(lines.details_array(rows), parse_job)
    return rows, [jobs[place] for place in places.tolist()]


def _each_once(
    details: Any, parse: Callable[[str], Value | None]
) -> tuple[list[Value | None], NDArray[np.int64]]:
    """Parse each text that occurs; returns the values, and which of them each text has."""
    encoded = details.dictionary_encode()
    values = [parse(text) for text in encoded.dictionary.to_pylist()]
    return values, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
