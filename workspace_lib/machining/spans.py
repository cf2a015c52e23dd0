"""Sets of time as sorted, disjoint spans of whole microseconds, half open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from workspace_lib.machining.line_fields import Bools, Ints


@dataclass(frozen=True)
class Spans:
    """Spans ``begin`` to ``end`` (excluded), each of shape (spans,) [µs since 1970 UTC].

    They are sorted, none is empty, and none touches the next.
    """

    begin: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def total_us(self) -> int:
        """How long they are together [µs]."""
        return int((self.end - self.begin).sum())

    def pairs(self) -> list[tuple[int, int]]:
        """Return the spans as pairs [µs]."""
        return list(zip(self.begin.tolist(), self.end.tolist(), strict=True))


def make_spans(pairs: Iterable[tuple[int, int]]) -> Spans:
    """Return the union of spans in any order; empty and reversed ones are left out."""
    listed = list(pairs)
    columns = np.array(listed, np.int64).reshape(-1, 2)
    return union(columns[:, 0], columns[:, 1])


def union(begin: Ints, end: Ints) -> Spans:
    """Return the union of spans given as columns."""
    keep = begin < end
    begin, end = begin[keep], end[keep]
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order]) if len(order) else end
    first = np.ones(len(begin), bool)
    first[1:] = begin[1:] > end[:-1]
    last = np.roll(first, -1) if len(first) else first
    return Spans(begin[first], end[last])


def covers(spans: Spans, t_us: Ints) -> Bools:
    """Return for each instant whether a span covers it."""
    if not len(spans):
        return np.zeros(len(t_us), bool)
    place = np.searchsorted(spans.begin, t_us, "right") - 1
    return (place >= 0) & (t_us < spans.end[place])


def measure(spans: Spans, t_us: Ints) -> Ints:
    """Return for each instant how much of the spans lies before it [µs]."""
    if not len(spans):
        return np.zeros(len(t_us), np.int64)
    before = np.concatenate(([0], np.cumsum(spans.end - spans.begin)))
    place = np.searchsorted(spans.begin, t_us, "right") - 1
    inside = np.minimum(t_us, spans.end[place]) - spans.begin[place]
    return np.where(place >= 0, before[place] + inside, 0)


def clip(spans: Spans, begin_us: int, end_us: int) -> Spans:
    """Return what of the spans lies between two instants."""
    return union(np.maximum(spans.begin, begin_us), np.minimum(spans.end, end_us))


def subtract(spans: Spans, other: Spans) -> Spans:
    """Return what of the spans is not in others."""
    edges = np.unique(np.concatenate((spans.begin, spans.end, other.begin, other.end)))
    inside = covers(spans, edges[:-1]) & ~covers(other, edges[:-1])
    return union(edges[:-1][inside], edges[1:][inside])
