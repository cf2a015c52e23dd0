"""Sparse matrices of a year of rain: one sparsity for tips and depths, no zeros, no NaN."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from workspace_lib.clock import to_us
from workspace_lib.errors import DataQualityError, FormatError, ParameterError
from workspace_lib.rain.analysis import US, Coverage, TipSeries, coverage_of
from workspace_lib.rain.matrices import RainMatrix, assemble, build, epoch_us, minutes_of
from workspace_lib.rain.matrix_files import encode, load_matrix, save_matrix

MINUTE = 60 * US


def at(*when: int) -> int:
    return to_us(datetime(*when, tzinfo=UTC))  # type: ignore[arg-type]


def series(
    stamps: list[int],
    tips: list[int],
    depths: list[float] | None = None,
    *,
    gauge: str = "a",
    coverage: Coverage | None = None,
) -> TipSeries:
    t_us = np.array(stamps, np.int64)
    return TipSeries(
        gauge,
        gauge.upper(),
        t_us,
        np.array(tips, np.int64),
        coverage_of(t_us) if coverage is None else coverage,
        0.2,
        None if depths is None else np.array(depths),
        () if depths is None else ("linear-2023",),
    )


@pytest.fixture
def network() -> RainMatrix:
    """Two gauges in 2023; one row of the second has no depth."""
    first = series([at(2023, 1, 1), at(2023, 3, 1, 0, 4), at(2023, 12, 31, 23, 59)], [1, 2, 3])
    full = TipSeries(**{**first.__dict__, "rain_mm": np.array([0.2, 0.41, 0.62])})
    second = series([at(2023, 6, 1), at(2023, 6, 2)], [5, 6], [1.1, np.nan], gauge="b")
    return build([full, second], 2023)


def test_a_year_has_the_minutes_of_its_days() -> None:
    assert minutes_of(2023) == 525_600
    assert minutes_of(2024) == 527_040
    with pytest.raises(ParameterError, match="1815"):
        minutes_of(1815)


def test_rows_are_gauges_and_columns_minutes_of_the_utc_year(network: RainMatrix) -> None:
    assert network.tips.shape == network.shape == (2, 525_600)
    assert network.tips[0, 0] == 1
    assert network.tips[0, 59 * 1440 + 4] == 2
    assert network.tips[0, 525_599] == 3
    assert isinstance(network.tips, scipy.sparse.csr_array)
    assert (network.tips.dtype, network.rain_mm.dtype) == (np.int32, np.float64)


def test_a_stamp_belongs_to_the_minute_in_which_it_lies() -> None:
    begin = at(2023, 5, 1)
    made = build([series([begin + 59 * US, begin + 60 * US, begin + 121 * US], [1, 2, 4])], 2023)
    column = (begin - epoch_us(2023)) // MINUTE
    assert made.tips[:, column : column + 3].toarray().tolist() == [[1, 2, 4]]


def test_the_row_of_new_years_midnight_belongs_to_the_new_year() -> None:
    rows = series([at(2022, 12, 31, 23, 59, 59), at(2023, 1, 1), at(2024, 1, 1)], [1, 2, 4])
    assert build([rows], 2022).tips.sum() == 1
    assert build([rows], 2023).tips.sum() == 2
    assert build([rows], 2024).tips.sum() == 4


def test_rows_within_one_minute_are_added() -> None:
    begin = at(2023, 5, 1)
    made = build([series([begin, begin + 59 * US], [1, 2], [0.2, 0.5])], 2023)
    assert made.tips.data.tolist() == [3]
    assert made.rain_mm.data.tolist() == [0.7]


def test_counts_and_depths_have_one_sparsity_and_no_stored_zero() -> None:
    begin = at(2023, 5, 1)
    stamps = [begin + n * MINUTE for n in range(10)]
    made = build([series(stamps, [0, 1] * 5, [0.0, 0.2] * 5)], 2023)
    assert made.tips.nnz == made.rain_mm.nnz == 5
    assert np.array_equal(made.tips.indices, made.rain_mm.indices)
    assert np.array_equal(made.tips.indptr, made.rain_mm.indptr)
    assert made.tips.data.min() > 0
    assert made.rain_mm.data.min() > 0


def test_a_cell_without_calibration_holds_no_depth_and_is_named(network: RainMatrix) -> None:
    assert not network.calibrated
    rows, columns = network.uncalibrated_cells()
    assert rows.tolist() == [1]
    assert columns.tolist() == [(at(2023, 6, 2) - epoch_us(2023)) // MINUTE]
    assert network.tips.nnz == 5
    assert network.rain_mm.nnz == 4
    assert np.isfinite(network.rain_mm.data).all()


def test_rain_that_nobody_calibrated_has_counts_only() -> None:
    made = build([series([at(2023, 5, 1)], [1])], 2023)
    assert (made.tips.nnz, made.rain_mm.nnz) == (1, 0)
    assert made.calibration == ((),)


def test_one_row_of_unknown_depth_makes_its_minute_unknown() -> None:
    begin = at(2023, 5, 1)
    made = build([series([begin, begin + 30 * US], [1, 1], [0.2, np.nan])], 2023)
    assert (made.tips.data.tolist(), made.rain_mm.nnz, len(made.uncalibrated)) == ([2], 0, 1)


def test_the_matrix_of_one_gauge_is_its_row(network: RainMatrix) -> None:
    one = network.row("b")
    assert one.gauges == ("b",)
    assert one.shape == (1, 525_600)
    assert one.tips.sum() == 11
    assert one.uncalibrated.tolist() == [1]
    assert one.calibration == (("linear-2023",),)
    with pytest.raises(ParameterError, match="no gauge 'c'"):
        network.row("c")


def test_missing_time_is_told_apart_from_no_rain() -> None:
    begin = at(2023, 5, 1)
    covered = Coverage(np.array([begin]), np.array([begin + 10 * MINUTE]))
    made = build([series([begin + MINUTE], [1], coverage=covered)], 2023)
    minutes = made.covered("a")
    column = (begin - epoch_us(2023)) // MINUTE
    assert minutes.sum() == 10
    assert minutes[column + 1 : column + 11].all()
    assert made.missing_share("a") == pytest.approx(1 - 10 / 525_600)


def test_coverage_ends_with_the_time_that_the_years_stamps_count() -> None:
    covered = Coverage(np.array([at(2022, 12, 1)]), np.array([at(2024, 2, 1)]))
    made = build([series([at(2023, 5, 1)], [1], coverage=covered)], 2023)
    assert made.missing_share("a") == 0.0
    assert made.coverage[0].end_us.tolist() == [at(2023, 12, 31, 23, 59)]


def test_a_year_without_rows_is_an_empty_matrix() -> None:
    made = build([series([], []), series([], [], gauge="b")], 2023)
    assert made.tips.nnz == 0
    assert made.missing_share("b") == 1.0


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_what_was_saved_comes_back(network: RainMatrix, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"network{suffix}"
    save_matrix(network, path)
    back = load_matrix(path)
    assert (back.year, back.gauges, back.calibration) == (2023, ("a", "b"), ((), ("linear-2023",)))
    for name in ("tips", "rain_mm"):
        ours, theirs = getattr(network, name), getattr(back, name)
        assert np.array_equal(ours.data, theirs.data)
        assert np.array_equal(ours.indices, theirs.indices)
        assert np.array_equal(ours.indptr, theirs.indptr)
    assert np.array_equal(network.uncalibrated, back.uncalibrated)
    for ours, theirs in zip(network.coverage, back.coverage, strict=True):
        assert np.array_equal(ours.start_us, theirs.start_us)
        assert np.array_equal(ours.end_us, theirs.end_us)


def test_equal_matrices_give_equal_bytes(network: RainMatrix) -> None:
    for suffix in (".npz", ".h5", ".mtx"):
        assert encode(network, suffix) == encode(network, suffix)


def test_scipy_itself_reads_the_counts_of_an_npz(network: RainMatrix, tmp_path: Path) -> None:
    save_matrix(network, tmp_path / "x.npz")
    found = scipy.sparse.load_npz(tmp_path / "x.npz")
    assert (found != network.tips).nnz == 0


def test_matrix_market_holds_either_matrix_and_says_what_it_is(
    network: RainMatrix, tmp_path: Path
) -> None:
    for value in ("tips", "rain_mm"):
        path = tmp_path / f"{value}.mtx"
        save_matrix(network, path, value)
        back = scipy.io.mmread(path, spmatrix=False).tocsr()
        assert back.shape == network.shape
        assert (back != getattr(network, value)).nnz == 0
        assert b'"stamp": "end"' in path.read_bytes()
    assert scipy.io.mminfo(tmp_path / "tips.mtx")[4] == "integer"


def test_hdf5_has_the_names_that_consumers_know(network: RainMatrix, tmp_path: Path) -> None:
    save_matrix(network, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert {"data", "indices", "indptr", "shape"} <= set(file["rain_mm"])
        assert file["timestamps"][0] == at(2023, 1, 1) // US
        assert file["timestamps"][-1] == at(2023, 12, 31, 23, 59) // US
        assert file["tips/shape"][:].tolist() == [2, 525_600]
        assert [name.decode() for name in file["gauges"][:]] == ["a", "b"]


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_damaged_file_is_refused(network: RainMatrix, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    content = encode(network, suffix)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="no sound matrix"):
        load_matrix(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=np.arange(3))
    with pytest.raises(FormatError, match="no sound matrix"):
        load_matrix(tmp_path / "x.npz")
    with pytest.raises(FormatError, match=r"npz or the \.h5"):
        load_matrix(tmp_path / "x.csv")


def test_a_file_whose_values_contradict_its_cells_is_refused(
    network: RainMatrix, tmp_path: Path
) -> None:
    save_matrix(network, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        arrays = {name: file[name] for name in file.files}
    for name, values in {
        "rain_mm": arrays["rain_mm"] * np.nan,
        "indices": arrays["indices"][::-1],
        "data": arrays["data"] * 0,
        "shape": np.array([2, 527_040]),
    }.items():
        np.savez(tmp_path / "y.npz", **{**arrays, name: values})
        with pytest.raises(FormatError, match="no sound matrix"):
            load_matrix(tmp_path / "y.npz")


def test_a_minute_twice_is_refused() -> None:
    with pytest.raises(DataQualityError, match="each once"):
        assemble(
            2023,
            ("a",),
            indices=np.array([5, 5], np.int32),
            indptr=np.array([0, 2], np.int32),
            tips=np.array([1, 1], np.int32),
            depths=np.array([0.2, 0.2]),
            coverage=(Coverage(np.zeros(0, np.int64), np.zeros(0, np.int64)),),
            calibration=((),),
        )


@pytest.fixture
def realistic() -> Callable[[], RainMatrix]:
    """A year of 19 gauges with tips in 0.8 % of the minutes, in storms, with gaps."""

    def make() -> RainMatrix:
        rng = np.random.default_rng(4)
        gauges = []
        for number in range(19):
            storms = rng.integers(0, 525_000, 140)
            minutes = np.unique((storms[:, None] + rng.integers(0, 120, (140, 31))).ravel())
            minutes = minutes[minutes < 525_600]
            tips = rng.geometric(0.6, len(minutes))
            edges = np.sort(rng.choice(525_600, 400, replace=False)).reshape(-1, 2)
            coverage = Coverage(
                epoch_us(2023) + edges[:, 0] * MINUTE, epoch_us(2023) + edges[:, 1] * MINUTE
            )
            depths = 0.0008 * tips**2 + 0.21522 * tips * (1 + number / 1000)
            gauges.append(
                series(
                    (epoch_us(2023) + minutes * MINUTE).tolist(),
                    tips.tolist(),
                    depths.tolist(),
                    gauge=f"g{number:02}",
                    coverage=coverage,
                )
            )
        return build(gauges, 2023)

    return make


def test_a_year_of_nineteen_gauges_is_under_a_megabyte(
    realistic: Callable[[], RainMatrix],
) -> None:
    matrix = realistic()
    density = matrix.tips.nnz / (19 * 525_600)
    assert 0.007 < density < 0.009
    assert len(encode(matrix, ".npz")) < 1_000_000
    assert len(encode(matrix, ".h5")) < 1_000_000
