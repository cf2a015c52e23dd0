"""Files of sparse matrices of rain: ``.npz`` and HDF5 hold all of it, Matrix Market one matrix.

``load_matrix`` gives back what was written, or says what is wrong with the file. An ``.npz`` is
also one for ``scipy.sparse.load_npz``, which finds the counts. Equal matrices give equal bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from workspace_lib.clock import from_us, iso
from workspace_lib.errors import DataQualityError, FormatError, ParameterError, WorkspaceError
from workspace_lib.files import atomic_write
from workspace_lib.rain.analysis import US, Coverage
from workspace_lib.rain.matrices import STEP_S, RainMatrix, assemble, minutes_of

FORMAT: Final = "field-workspace rain matrix"
VERSION: Final = 1
UNITS: Final = {"tips": "1", "rain_mm": "mm"}
_COMPRESSED: Final[dict[str, Any]] = {"compression": "gzip", "shuffle": True}


def save_matrix(matrix: RainMatrix, path: Path, value: str = "rain_mm") -> None:
    """Write a matrix to a file, whole or not at all; the suffix says how.

    Parameters
    ----------
    matrix : RainMatrix
        The matrix.
    path : Path
        A file that ends in ``.npz``, ``.h5`` or ``.mtx``.
    value : str
        Which of the two matrices a Matrix Market file gets: ``rain_mm`` or ``tips``.

    Raises
    ------
    ParameterError
        If the suffix is none of these, or there is no such value.
    """
    atomic_write(path, encode(matrix, path.suffix, value))


def encode(matrix: RainMatrix, suffix: str, value: str = "rain_mm") -> bytes:
    """Return the bytes of the file that `save_matrix` writes; equal matrices give equal bytes."""
    if suffix == ".npz":
        return _npz(matrix)
    if suffix == ".h5":
        return _hdf5(matrix)
    if suffix == ".mtx":
        return _matrix_market(matrix, value)
    raise ParameterError(
        f"There is no matrix file {suffix!r}.", fix="Take one of: .npz, .h5, .mtx."
    )


def load_matrix(path: Path) -> RainMatrix:
    """Read a matrix from an ``.npz`` or HDF5 file, and check that it holds together.

    Raises
    ------
    FormatError
        If the file is none, is damaged, or contradicts itself.
    """
    readers = {".npz": _read_npz, ".h5": _read_hdf5}
    reader = readers.get(path.suffix)
    if reader is None:
        raise FormatError(
            f"{path.suffix or 'A file without suffix'} is no file of a whole matrix.",
            where=str(path),
            fix="Take the .npz or the .h5; scipy.io.mmread reads the .mtx.",
        )
    try:
        return _from_arrays(*reader(path))
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        zipfile.BadZipFile,
        DataQualityError,
        ParameterError,
    ) as error:
        reason = error.what if isinstance(error, WorkspaceError) else str(error)
        raise FormatError(
            f"This is no sound matrix of rain: {reason}",
            where=str(path),
            fix="Make it again with the job rain_products, rebuild: true.",
        ) from error


def describe(matrix: RainMatrix) -> dict[str, Any]:
    """Return what must be known beside the values: epoch, step, stamps, gauges, calibration."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "year": matrix.year,
        "epoch": iso(from_us(matrix.epoch_us)),
        "epoch_s": matrix.epoch_us // US,
        "step_s": STEP_S,
        "stamp": "end",
        "rows": "gauges",
        "columns": "minutes of the UTC year; column j: stamps in [epoch + 60 j s, + 60 s)",
        "shape": list(matrix.shape),
        "gauges": list(matrix.gauges),
        "units": UNITS,
        "calibration": [list(versions) for versions in matrix.calibration],
        "cells": int(matrix.tips.nnz),
        "uncalibrated_cells": len(matrix.uncalibrated),
        "missing_share": [round(matrix.missing_share(gauge), 9) for gauge in matrix.gauges],
    }


def _arrays(matrix: RainMatrix) -> dict[str, Any]:
    lengths = [len(one.start_us) for one in matrix.coverage]
    empty = np.zeros(0, np.int64)
    return {
        "uncalibrated": matrix.uncalibrated,
        "coverage_row": np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        "coverage_start_us": np.concatenate([empty, *(one.start_us for one in matrix.coverage)]),
        "coverage_end_us": np.concatenate([empty, *(one.end_us for one in matrix.coverage)]),
    }


def _from_arrays(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> RainMatrix:
    """Put together what a file holds, through the checks of `assemble`."""
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise DataQualityError(f"It is not version {VERSION} of a {FORMAT}.")
    year, gauges = int(about["year"]), tuple(about["gauges"])
    if (about["step_s"], about["stamp"]) != (STEP_S, "end"):
        raise DataQualityError("Its step or the meaning of its stamps is not that of this version.")
    if list(arrays["shape"]) != [len(gauges), minutes_of(year)]:
        raise DataQualityError("Its shape is not that of its gauges and its year.")
    uncalibrated, rain = arrays["uncalibrated"], arrays["rain_mm"]
    depths = np.full(len(arrays["indices"]), np.nan)
    known = np.ones(len(depths), bool)
    known[uncalibrated] = False
    if known.sum() != len(rain) or not np.all(np.isfinite(rain) & (rain > 0)):
        raise DataQualityError("Its depths do not fit its cells, or are no depths.")
    depths[known] = rain
    rows = np.asarray(arrays["coverage_row"])
    coverage = tuple(
        Coverage(
            np.asarray(arrays["coverage_start_us"])[rows == row],
            np.asarray(arrays["coverage_end_us"])[rows == row],
        )
        for row in range(len(gauges))
    )
    return assemble(
        year,
        gauges,
        indices=np.asarray(arrays["indices"], np.int32),
        indptr=np.asarray(arrays["indptr"], np.int32),
        tips=np.asarray(arrays["data"]),
        depths=depths,
        coverage=coverage,
        calibration=tuple(tuple(versions) for versions in about["calibration"]),
    )


def _npz(matrix: RainMatrix) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        format=np.array(b"csr"),  # format, shape, data, indices, indptr, _is_array: scipy's names
        shape=np.array(matrix.shape),
        data=matrix.tips.data,
        indices=matrix.tips.indices.astype(np.int32),
        indptr=matrix.tips.indptr.astype(np.int32),
        _is_array=np.array(True),
        rain_mm=matrix.rain_mm.data,
        about=np.array(json.dumps(describe(matrix))),
        **_arrays(matrix),
    )
    return stream.getvalue()


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("about"))), arrays


def _hdf5(matrix: RainMatrix) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["about"] = json.dumps(describe(matrix))
        for name in ("tips", "rain_mm"):
            one = getattr(matrix, name)
            group = file.create_group(name)
            group.attrs["unit"] = UNITS[name]
            _put(group, "data", one.data)
            _put(group, "indices", one.indices.astype(np.int32))
            _put(group, "indptr", one.indptr.astype(np.int32))
            _put(group, "shape", np.array(matrix.shape, np.int64))
        _put(file, "timestamps", matrix.timestamps)
        file["timestamps"].attrs["unit"] = "s since 1970-01-01T00:00:00Z, begin of the column"
        file.create_dataset("gauges", data=[gauge.encode() for gauge in matrix.gauges])
        for name, values in _arrays(matrix).items():
            _put(file, name, values)
    return stream.getvalue()


def _put(group: Any, name: str, values: Any) -> None:
    if not len(values):  # nothing cannot be compressed
        group.create_dataset(name, data=values)
        return
    # In one chunk, in which equal bytes of numbers stand together: steps of a minute vanish.
    group.create_dataset(name, data=values, chunks=values.shape, **_COMPRESSED)


def _read_hdf5(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    import h5py

    with h5py.File(path, "r") as file:
        about = json.loads(file.attrs["about"])
        arrays = {
            name: file[name][:]
            for name in ("uncalibrated", "coverage_row", "coverage_start_us", "coverage_end_us")
        }
        for name in ("data", "indices", "indptr", "shape"):
            arrays[name] = file["tips"][name][:]
        arrays["rain_mm"] = file["rain_mm/data"][:]
        cells = np.delete(arrays["indices"], arrays["uncalibrated"])
        if not np.array_equal(cells, file["rain_mm/indices"][:]):
            raise DataQualityError("Counts and depths do not stand in the same cells.")
        stamps = file["timestamps"]
        if len(stamps) != arrays["shape"][1] or stamps[0] != about["epoch_s"]:
            raise DataQualityError("Its timestamps are not those of its year.")
    return about, arrays


def _matrix_market(matrix: RainMatrix, value: str) -> bytes:
    from scipy.io import mmwrite

    if value not in UNITS:
        raise ParameterError(f"A matrix has no {value!r}.", fix=f"Take one of: {', '.join(UNITS)}.")
    about = {**describe(matrix), "value": value, "unit": UNITS[value]}
    stream = io.BytesIO()
    one = getattr(matrix, value)
    mmwrite(
        stream,
        one.tocoo(),
        comment=json.dumps(about),
        field="integer" if value == "tips" else "real",
        symmetry="general",
    )
    return stream.getvalue()
