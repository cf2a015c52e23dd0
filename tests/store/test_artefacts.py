"""Artefacts: same input gives same bytes, a full disk leaves nothing, wrong things are refused."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workspace_lib.errors import PublishError, StoreError
from workspace_lib.files import sha256_file
from workspace_lib.store import artefacts
from workspace_lib.store.artefacts import read_artefact, write_artefact

AS_OF = datetime(2026, 3, 1, 8, tzinfo=UTC)


def write(outputs: Path, obj: Any, name: str = "rain.sums", **options: Any) -> artefacts.Artefact:
    return write_artefact(
        outputs,
        name,
        obj,
        **{"run_id": "r1", "attempt": 1, "folder": outputs / "runs/r1/1", "as_of": AS_OF} | options,
    )


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def sums() -> pd.DataFrame:
    hours = pd.date_range("2026-03-01", periods=3, freq="h", tz="UTC")
    return pd.DataFrame({"gauge": ["a", "b", None], "rain_mm": [0.2, np.nan, 1.4]}, index=hours)


def test_a_frame_comes_back_as_it_was(tmp_path: Path) -> None:
    artefact = write(tmp_path, sums())
    pd.testing.assert_frame_equal(
        read_artefact(tmp_path, artefact.manifest), sums(), check_freq=False
    )


def test_an_arrow_table_comes_back_as_a_table(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2, None]})
    assert read_artefact(tmp_path, write(tmp_path, table).manifest).equals(table)


def test_a_polars_frame_and_a_series_are_frames(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = write(tmp_path, polars.DataFrame({"n": [1, 2]}))
    assert (frame.kind, frame.manifest["rows"]) == ("frame", 2)
    series = write(tmp_path, pd.Series([1.5], name="rain_mm"), "rain.last")
    assert series.manifest["schema"] == [{"name": "rain_mm", "type": "double", "unit": None}]


@pytest.mark.parametrize("chunks", [1, 3])
def test_the_same_frame_gives_the_same_bytes_however_it_was_built(
    tmp_path: Path, chunks: int
) -> None:
    whole = pa.table({"n": list(range(9)), "t": ["x", "y", "x"] * 3})
    built = pa.concat_tables([whole.slice(i * 9 // chunks, 9 // chunks) for i in range(chunks)])
    assert write(tmp_path / "a", whole).sha256 == write(tmp_path / "b", built).sha256


def test_parquet_is_compressed_with_zstd_and_names_its_units(tmp_path: Path) -> None:
    artefact = write(tmp_path, sums(), unit={"rain_mm": "mm"})
    parquet = pq.ParquetFile(tmp_path / artefact.path)
    assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"
    assert parquet.schema_arrow.field("rain_mm").metadata[b"unit"] == b"mm"
    assert artefact.unit == {"rain_mm": "mm"}


def test_the_manifest_says_what_it_is(tmp_path: Path) -> None:
    source = write(tmp_path, {"n": 1}, "rain.files")
    loaded = type("Loaded", (), {"name": "rain.files", "manifest": source.manifest})()
    artefact = write(
        tmp_path,
        sums(),
        unit={"rain_mm": "mm"},
        valid_from=datetime(2026, 3, 1, tzinfo=UTC),
        valid_to=datetime(2026, 3, 1, 3, tzinfo=UTC),
        inputs=[loaded, "gauges.yml"],
        extra={"gauges": 3},
    )
    path = tmp_path / artefact.path
    manifest = json.loads((tmp_path / "runs/r1/1/rain.sums.manifest.json").read_text())
    assert manifest == artefact.manifest
    assert manifest["sha256"] == artefact.sha256 == sha256_file(path)
    assert manifest["bytes"] == artefact.bytes == path.stat().st_size
    assert manifest["path"] == artefact.path == "runs/r1/1/rain.sums.parquet"
    assert [(c["name"], c["type"], c["unit"]) for c in manifest["schema"]] == [
        ("gauge", "large_string", None),
        ("rain_mm", "double", "mm"),
        ("__index_level_0__", "timestamp[us, tz=UTC]", None),
    ]
    assert manifest["rows"] == 3
    assert (manifest["run_id"], manifest["attempt"]) == ("r1", 1)
    assert manifest["as_of"] == "2026-03-01T08:00:00Z"
    assert manifest["valid_to"] == "2026-03-01T03:00:00Z"
    assert manifest["inputs"] == [
        {"name": "rain.files", "sha256": source.sha256, "run_id": "r1", "attempt": 1},
        "gauges.yml",
    ]
    assert manifest["extra"] == {"gauges": 3}


def test_a_value_has_null_for_what_is_missing(tmp_path: Path) -> None:
    value = {
        "nan": math.nan,
        "numpy": np.float32(1.5),
        "array": np.array([1.0, np.nan]),
        "nat": pd.NaT,
        "time": datetime(2026, 3, 1, tzinfo=UTC),
        "numpy_time": np.datetime64("2026-03-01T00:00:00", "ns"),
        "money": Decimal("1.5"),
        "set": {2, 1},
        3: (1, 2),
    }
    artefact = write(tmp_path, value, unit="mm")
    assert artefact.kind == "value"
    assert artefact.unit == "mm"
    assert "NaN" not in (tmp_path / artefact.path).read_text()
    assert read_artefact(tmp_path, artefact.manifest) == {
        "nan": None,
        "numpy": 1.5,
        "array": [1.0, None],
        "nat": None,
        "time": "2026-03-01T00:00:00Z",
        "numpy_time": "2026-03-01T00:00:00",
        "money": 1.5,
        "set": [1, 2],
        "3": [1, 2],
    }


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"a": [1, math.inf]}, r"rain.sums\['a'\]\[1\].*infinite"),
        ({"a": object()}, r"rain.sums\['a'\].*object cannot be published"),
        ({(1, 2): 3}, "cannot be a key"),
        (pd.DataFrame({"a": [1, "x"]}, dtype=object), "rain.sums has a column that Parquet"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns of one name"),
        (Path("/nowhere/at/all"), "There is no file"),
    ],
)
def test_what_cannot_be_published_is_refused_and_leaves_nothing(
    tmp_path: Path, obj: Any, words: str
) -> None:
    with pytest.raises(PublishError, match=words):
        write(tmp_path, obj)
    assert files(tmp_path) == []


def test_a_unit_for_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"no column rain_cm.*Its columns: gauge, rain_mm"):
        write(tmp_path, sums(), unit={"rain_cm": "cm"})
    with pytest.raises(PublishError, match="takes one unit"):
        write(tmp_path, {"a": 1}, unit={"a": "mm"})


def test_a_file_is_copied_with_its_name(tmp_path: Path) -> None:
    original = tmp_path / "Report of March.xlsx"
    original.write_bytes(b"xlsx")
    artefact = write(tmp_path, original, "machining.report")
    original.unlink()
    copy = read_artefact(tmp_path, artefact.manifest)
    assert (copy.name, copy.read_bytes()) == ("machining.report.xlsx", b"xlsx")
    assert artefact.manifest["file_name"] == "Report of March.xlsx"


FIGURE = """
import sys
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure
from workspace_lib.store.artefacts import write_artefact
figure = Figure()
axes = figure.add_subplot()
axes.plot(np.arange(50), np.sin(np.arange(50)))
axes.set_title("Rain [mm]")
out = Path(sys.argv[1])
print(write_artefact(out, "rain.plot", figure, run_id="r", attempt=1, folder=out).manifest)
"""


def test_the_same_matplotlib_figure_gives_the_same_files_in_two_processes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", FIGURE, tmp_path / name], check=True)
    assert (tmp_path / "a/rain.plot.png").read_bytes()[:4] == b"\x89PNG"
    for suffix in ("png", "svg"):
        one, two = ((tmp_path / name / f"rain.plot.{suffix}").read_bytes() for name in ("a", "b"))
        assert one == two
        assert b"<dc:date>" not in one


def test_a_matplotlib_figure_comes_back_as_png_with_svg_beside(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    artefact = write(tmp_path, Figure(), "rain.plot")
    assert artefact.kind == "figure"
    assert read_artefact(tmp_path, artefact.manifest).startswith(b"\x89PNG")
    assert artefact.manifest["also"][0]["path"] == "runs/r1/1/rain.plot.svg"


def test_a_plotly_figure_comes_back_as_a_figure(tmp_path: Path) -> None:
    graph = pytest.importorskip("plotly.graph_objects")
    figure = graph.Figure(graph.Scatter(x=[1, 2], y=[0.5, math.nan], name="rain"))
    one = write(tmp_path, figure, "rain.plot")
    two = write(tmp_path, graph.Figure(figure), "rain.plot2")
    assert one.sha256 == two.sha256
    assert "NaN" not in (tmp_path / one.path).read_text()
    back = read_artefact(tmp_path, one.manifest)
    assert isinstance(back, graph.Figure)
    assert back.data[0].name == "rain"


@pytest.mark.parametrize(
    "name",
    [
        "rain",
        "Rain.sums",
        "rain.sums/",
        "rain.sums/a/b",
        "rain.sums/..\\x",
        "rain.sums/" + 200 * "k",
    ],
)
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PublishError, match="no name for a publication"):
        write(tmp_path, 1, name)


def test_keys_that_differ_in_capitals_or_climb_get_files_of_their_own(tmp_path: Path) -> None:
    names = ["rain.sums/a", "rain.sums/A", "rain.sums/..", "rain.sums/nul", "rain.sums"]
    paths = [write(tmp_path, 1, name).path for name in names]
    assert len({path.lower() for path in paths}) == len(names)
    assert all(path.startswith("runs/r1/1/rain.sums") for path in paths)


def test_a_folder_outside_the_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="outside"):
        write(tmp_path / "outputs", 1, folder=tmp_path / "elsewhere")


def test_a_file_that_is_gone_or_changed_is_named(tmp_path: Path) -> None:
    artefact = write(tmp_path, {"n": 1})
    path = tmp_path / artefact.path
    path.write_text('{"n": 2}')
    with pytest.raises(StoreError, match="not the one that was published"):
        read_artefact(tmp_path, artefact.manifest)
    path.unlink()
    with pytest.raises(StoreError, match=r"is gone.*Run the job"):
        read_artefact(tmp_path, artefact.manifest)


def test_a_fault_in_the_middle_keeps_the_files_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path, {"n": 1})
    kept = files(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artefacts.os, "fsync", full)
    with pytest.raises(PublishError, match=r"No space left.*Free disk space"):
        write(tmp_path, {"n": 2})
    assert files(tmp_path) == kept
    assert read_artefact(tmp_path, before.manifest) == {"n": 1}


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from matplotlib.figure import Figure
from workspace_lib.errors import PublishError
from workspace_lib.store.artefacts import write_artefact
out = Path(sys.argv[1])
noise = np.random.default_rng(1).random(200_000)
plot = Figure()
plot.add_subplot().plot(noise[:5000], ".")
things = {"rain.frame": pd.DataFrame({"x": noise}), "rain.value": list(noise), "rain.plot": plot}
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for name, thing in things.items():
    try:
        write_artefact(out, name, thing, run_id="r", attempt=1, folder=out)
    except PublishError as error:
        print(name, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_no_half_file_is_left_where_the_system_refuses_to_write(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], check=True, capture_output=True, text=True
    ).stdout
    assert told.count("could not be written: File too large") == 3
    assert files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    try:
        small = write(disk, {"n": 1}, "rain.small")
        kept = files(disk)
        frame = pd.DataFrame({"x": np.random.default_rng(1).random(100_000)})
        with pytest.raises(PublishError, match=r"No space left.*Free disk space"):
            write(disk, frame, "rain.large")
        assert files(disk) == kept
        assert read_artefact(disk, small.manifest) == {"n": 1}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_heavy_packages_are_not_needed_to_publish_a_value(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from workspace_lib.store.artefacts import *;"
        f"p = Path({str(tmp_path)!r});"
        "write_artefact(p, 'rain.n', 1, run_id='r', attempt=1, folder=p);"
        "print([m for m in ('pandas', 'matplotlib', 'plotly', 'pyarrow') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == "[]"
