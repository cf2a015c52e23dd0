"""Artefacts: frames, figures, values and files written whole or not at all, with a manifest beside.

The same input gives the same bytes, so that a slot run again can be compared with its first run.
What lies in a run's folder is nobody's business until `publications` moves the pointer to it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc, iso
from workspace_lib.errors import PublishError, StoreError
from workspace_lib.files import fsync_directory, safe_name, sha256_file

Kind = Literal["frame", "figure", "value", "file"]
Unit = str | dict[str, str] | None

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z0-9_]+(/[\w.-]+)?")
MAX_NAME = 160
ROW_GROUP = 131_072
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

_Save = Callable[[BinaryIO], None]


@dataclass(frozen=True)
class Artefact:
    """One thing a run has made.

    ``path`` is relative to the site's outputs, with forward slashes; ``unit`` is one unit for the
    whole or a unit by column; ``as_of`` is the instant for which the content speaks.
    """

    name: str
    kind: Kind
    path: str
    sha256: str
    bytes: int
    unit: Unit
    as_of: datetime
    run_id: str
    attempt: int
    manifest: dict[str, Any]


def write_artefact(
    outputs: Path,
    name: str,
    obj: Any,
    *,
    run_id: str,
    attempt: int,
    folder: Path,
    unit: str | Mapping[str, str] | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    as_of: datetime | None = None,
    inputs: Sequence[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> Artefact:
    """Write ``obj`` and its manifest into ``folder``, both or neither.

    A pandas, polars or pyarrow frame becomes Parquet (zstd), a matplotlib figure PNG and SVG, a
    plotly figure its JSON, a `pathlib.Path` a copy of that file, anything else a JSON value in
    which NaN is null.

    Parameters
    ----------
    outputs : Path
        The site's outputs; ``folder`` must lie in it.
    name : str
        ``<wing>.<thing>`` or ``<wing>.<thing>/<key>``.
    unit : str or mapping, optional
        Unit of the whole, or by column of a frame.
    valid_from, valid_to : datetime, optional
        Span of the data in it.
    as_of : datetime, optional
        The instant for which the content speaks, from which its age is counted; default now.
    inputs : sequence
        What it was made from: names, mappings, or loaded publications.
    extra : mapping, optional
        More for the manifest, JSON values.

    Raises
    ------
    PublishError
        If the name, the unit or the object cannot be published, or the disk is full; no file is
        left in that case.
    """
    check_name(name)
    moment = ensure_utc(as_of) if as_of else SYSTEM_CLOCK.now()
    kind, encoded, facts = _encode(name, obj, unit)
    target = place_of(outputs, folder, name)
    staging = _Staging()
    try:
        files = [
            {"format": suffix, **staging.add(_beside(target, suffix), save)}
            for suffix, save in encoded
        ]
        for file in files:
            file["path"] = Path(file["path"]).relative_to(outputs.resolve()).as_posix()
        main = files[0]
        manifest: dict[str, Any] = {
            "name": name,
            "kind": kind,
            **main,
            "also": files[1:],
            **facts,
            "unit": dict(unit) if isinstance(unit, Mapping) else unit,
            "inputs": [_input(item) for item in inputs],
            "run_id": run_id,
            "attempt": attempt,
            "as_of": iso(moment),
            "valid_from": iso(valid_from) if valid_from else None,
            "valid_to": iso(valid_to) if valid_to else None,
            "extra": plain(dict(extra or {}), name),
        }
        content = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False).encode()
        staging.add(_beside(target, "manifest.json"), lambda stream: _put(stream, content))
        staging.commit()
    except OSError as error:
        staging.discard()
        full = error.errno in _FULL
        raise PublishError(
            f"{name} could not be written: {error.strerror or error}.",
            where=str(target.parent),
            fix="Free disk space, then run the job again." if full else "Check the folder.",
        ) from error
    except BaseException:
        staging.discard()
        raise
    return Artefact(
        name=name,
        kind=kind,
        path=main["path"],
        sha256=main["sha256"],
        bytes=main["bytes"],
        unit=manifest["unit"],
        as_of=moment,
        run_id=run_id,
        attempt=attempt,
        manifest=manifest,
    )


def read_artefact(outputs: Path, manifest: Mapping[str, Any]) -> Any:
    """Return what a manifest's file holds, after comparing its content with the manifest.

    A frame comes back as it was given (pandas where it was pandas and pandas is installed, else a
    pyarrow Table), a plotly figure as a figure, an image as the bytes of its PNG, a file as its
    path.

    Raises
    ------
    StoreError
        If the file is gone or is not the one that was published.
    """
    path = outputs / manifest["path"]
    name = manifest["name"]
    if not path.exists():
        raise StoreError(
            f"The file of {name} is gone.", where=str(path), fix="Run the job that publishes it."
        )
    if sha256_file(path) != manifest["sha256"]:
        raise StoreError(
            f"The file of {name} is not the one that was published.",
            where=str(path),
            fix="Check the disk and run the job that publishes it.",
        )
    kind = manifest["kind"]
    if kind == "frame":
        return _read_frame(path, manifest)
    if kind == "value":
        return json.loads(path.read_text(encoding="utf-8"))
    if kind == "figure":
        return path.read_bytes() if manifest["format"] == "png" else _read_plotly(path)
    return path


def check_name(name: str) -> None:
    """Refuse a name that is not ``<wing>.<thing>[/<key>]``.

    Raises
    ------
    PublishError
        If it is not.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise PublishError(
            f"{name!r} is no name for a publication.",
            fix="Write it as <wing>.<thing> or <wing>.<thing>/<key>, like rain.sums/gauge_1.",
        )


def place_of(outputs: Path, folder: Path, name: str) -> Path:
    """Return where in ``folder`` the files of a publication go, without their suffix.

    Raises
    ------
    PublishError
        If the folder lies outside the site's outputs.
    """
    root = outputs.resolve()
    place = folder.resolve()
    if not place.is_relative_to(root):
        raise PublishError(f"The folder {folder} lies outside the site's outputs {outputs}.")
    thing, _, key = name.partition("/")
    if not key:
        return place / thing
    # A folder that tells capitals apart is not given everywhere, so a changed key carries a mark.
    stem = safe_name(key)
    if stem != key or key != key.lower():
        stem += f"-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    return place / thing / stem


def plain(value: Any, where: str) -> Any:
    """Return ``value`` as JSON can hold it: NaN is null, times are ISO 8601 text in UTC.

    Raises
    ------
    PublishError
        If a part of it has no form in JSON; ``where`` and the way to that part are named.
    """
    if value is None or isinstance(value, bool | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isinf(value):
            raise PublishError("JSON cannot hold an infinite number.", where=where)
        return None if math.isnan(value) else float(value)
    if isinstance(value, Decimal):
        return plain(float(value), where)
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas' further ways to say missing
        return None
    if isinstance(value, datetime):
        return iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(items)]
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        value = value.astype("datetime64[us]")  # in nanoseconds numpy would give bare integers
    # numpy's and Arrow's scalars and arrays know their Python form.
    for convert in ("tolist", "as_py", "item"):
        if callable(method := getattr(value, convert, None)):
            return plain(method(), where)
    raise PublishError(
        f"A {type(value).__name__} cannot be published as a value.",
        where=where,
        fix="Publish numbers, texts, lists and mappings, a frame or a figure.",
    )


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise PublishError(f"{key!r} cannot be a key in JSON.", where=where, fix="Use texts as keys.")


class _Staging:
    """Files written aside and put in place together, so that a full disk leaves none of them."""

    def __init__(self) -> None:
        self._parts: list[tuple[Path, Path]] = []

    def add(self, target: Path, save: _Save) -> dict[str, Any]:
        """Write one file aside; returns its path, hash and size [bytes]."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:60]}.{uuid.uuid4().hex[:8]}.part")
        self._parts.append((part, target))
        with part.open("xb") as stream:
            save(stream)
            stream.flush()
            os.fsync(stream.fileno())
        return {
            "path": str(target),
            "sha256": sha256_file(part),
            "bytes": part.stat().st_size,
        }

    def commit(self) -> None:
        """Put all files in place, the manifest last."""
        for part, target in self._parts:
            part.replace(target)
        for folder in {target.parent for _, target in self._parts}:
            fsync_directory(folder)

    def discard(self) -> None:
        """Remove what was written aside."""
        for part, _ in self._parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")


def _input(item: Any) -> Any:
    if hasattr(item, "manifest") and hasattr(item, "name"):
        manifest = item.manifest
        return {key: manifest[key] for key in ("name", "sha256", "run_id", "attempt")}
    return str(item) if isinstance(item, Path) else plain(item, "inputs")


def _encode(
    name: str, obj: Any, unit: str | Mapping[str, str] | None
) -> tuple[Kind, list[tuple[str, _Save]], dict[str, Any]]:
    """Return the kind, the files to write (suffix and writer) and what the manifest says of it."""
    if (frame := _as_arrow(name, obj)) is not None:
        table, origin = frame
        return _encode_frame(name, table, origin, unit)
    if isinstance(unit, Mapping):
        raise PublishError(f"{name} is no frame; it takes one unit.", fix="Give unit as a text.")
    if _is_a(obj, "matplotlib.figure", "Figure"):
        savers = [(suffix, partial(_save_matplotlib, obj, suffix)) for suffix in ("png", "svg")]
        return "figure", list(savers), {}
    if _is_a(obj, "plotly.basedatatypes", "BaseFigure"):
        content = _encode_plotly(name, obj)
        return "figure", [("plotly.json", lambda stream: _put(stream, content))], {}
    if isinstance(obj, Path):
        if not obj.is_file():
            raise PublishError(f"There is no file {obj} to publish as {name}.")
        suffix = safe_name(obj.suffix.lstrip(".") or "bin")
        return "file", [(suffix, partial(_copy, obj))], {"file_name": obj.name}
    value = plain(obj, name)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return "value", [("json", lambda stream: _put(stream, text.encode()))], {}


def _is_a(obj: Any, module: str, name: str) -> bool:
    # What was never imported cannot have made the object: the heavy packages stay unloaded.
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(obj, getattr(loaded, name))


def _as_arrow(name: str, obj: Any) -> tuple[Any, str] | None:
    if _is_a(obj, "pyarrow", "Table"):
        return obj, "arrow"
    if _is_a(obj, "pandas", "Series"):
        obj = obj.to_frame(obj.name if obj.name is not None else "value")
    if _is_a(obj, "pandas", "DataFrame"):
        import pyarrow as pa

        try:
            return pa.Table.from_pandas(obj), "pandas"
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise PublishError(
                f"The frame {name} has a column that Parquet cannot hold: {error}.",
                fix="Give each column one type and one name.",
            ) from error
    if _is_a(obj, "polars", "DataFrame"):
        return obj.to_arrow(), "arrow"
    return None


def _encode_frame(
    name: str, table: Any, origin: str, unit: str | Mapping[str, str] | None
) -> tuple[Kind, list[tuple[str, _Save]], dict[str, Any]]:
    import pyarrow as pa

    units = dict(unit) if isinstance(unit, Mapping) else {}
    if len(set(table.column_names)) != len(table.column_names):
        raise PublishError(f"The frame {name} has two columns of one name.")
    if unknown := sorted(set(units) - set(table.column_names)):
        raise PublishError(
            f"The frame {name} has no column {', '.join(unknown)}, but a unit for it.",
            fix=f"Its columns: {', '.join(table.column_names)}.",
        )
    fields = [
        field.with_metadata({"unit": units[field.name]}) if field.name in units else field
        for field in table.schema
    ]
    # The chunks in which a table was built must not show in the bytes.
    table = pa.Table.from_arrays(
        table.combine_chunks().columns,
        schema=pa.schema(fields, metadata=table.schema.metadata),
    )
    facts = {
        "rows": table.num_rows,
        "schema": [
            {"name": field.name, "type": str(field.type), "unit": units.get(field.name)}
            for field in table.schema
        ],
        "frame": origin,
    }
    return "frame", [("parquet", partial(_save_parquet, table))], facts


def _save_parquet(table: Any, stream: BinaryIO) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        table, stream, compression="zstd", row_group_size=ROW_GROUP, write_statistics=True
    )


def _read_frame(path: Path, manifest: Mapping[str, Any]) -> Any:
    import pyarrow.parquet as pq

    table = pq.read_table(path, partitioning=None)
    if manifest.get("frame") != "pandas":
        return table
    try:
        return table.to_pandas()
    except ModuleNotFoundError:  # The base installation has no pandas.
        return table


def _save_matplotlib(figure: Any, suffix: str, stream: BinaryIO) -> None:
    import matplotlib

    # Neither the date nor random identifiers, or two equal figures would differ.
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "workspace"}):
        figure.savefig(stream, format=suffix, metadata=metadata, bbox_inches="tight")


def _encode_plotly(name: str, figure: Any) -> bytes:
    import plotly.io

    try:
        text = plotly.io.to_json(figure, validate=False, remove_uids=True, engine="json")
    except (TypeError, ValueError) as error:
        raise PublishError(f"The figure {name} has no form in JSON: {error}.") from error
    # The order of its keys depends on how the figure was built, not on what it shows.
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()


def _read_plotly(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    try:
        import plotly.io
    except ModuleNotFoundError:  # Where no dashboards are installed its JSON is what there is.
        return json.loads(text)
    return plotly.io.from_json(text, skip_invalid=True)


def _copy(source: Path, stream: BinaryIO) -> None:
    with source.open("rb") as original:
        shutil.copyfileobj(original, stream, 1 << 20)


def _put(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
