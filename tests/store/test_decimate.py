"""Thinning keeps extremes, invents nothing and stays within its limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.store.decimate import bucket_edges, extreme_rows, thin

VALUES = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf")))


def test_each_bucket_gives_its_least_and_greatest_row() -> None:
    t = np.arange(12, dtype=np.int64)
    values = np.array([0, 3, 1, -2, 0, 0, 5, 9, 7, 6, 6, 6.0])
    rows = extreme_rows(t, [values], np.array([0, 6, 12], dtype=np.int64))
    # First and last row are always there.
    assert rows.tolist() == [0, 1, 3, 6, 7, 11]


def test_a_gap_gives_no_rows() -> None:
    t = np.concatenate([np.arange(100), np.arange(900, 1000)]).astype(np.int64)
    rows = extreme_rows(t, [np.sin(t / 7.0)], bucket_edges(0, 1000, 42, 1))
    assert not ((t[rows] >= 100) & (t[rows] < 900)).any()


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ParameterError, match="8 points at least"):
        bucket_edges(0, 1000, 7, 3)


@given(
    steps=st.lists(st.integers(0, 10**9), min_size=1, max_size=300),
    data=st.data(),
    columns=st.integers(1, 3),
    max_points=st.integers(8, 60),
)
def test_extremes_of_every_column_survive_any_thinning(
    steps: list[int], data: st.DataObject, columns: int, max_points: int
) -> None:
    t = np.cumsum(np.array(steps, dtype=np.int64))
    values = [
        np.array(data.draw(st.lists(VALUES, min_size=len(t), max_size=len(t))))
        for _ in range(columns)
    ]
    edges = bucket_edges(int(t[0]), int(t[-1]) + 1, max_points, columns)
    rows = thin(t, values, edges, max_points)
    assert len(rows) <= max_points
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == len(t) - 1
    for column in values:
        present = column[~np.isnan(column)]
        if len(present):
            kept = column[rows]
            assert np.nanmin(kept) == present.min()
            assert np.nanmax(kept) == present.max()
