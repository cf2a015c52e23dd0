"""The reader of COMTRADE records (IEEE C37.111): CFG and DAT side by side, or one CFF.

Header and information files (HDR, INF) are kept as text and never make a record unreadable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers.comtrade_config import Config, decode, parse_config
from workspace_lib.reclosers.comtrade_data import Content, Samples, parse_data
from workspace_lib.reclosers.record import NS, EventRecord, Ints

PARTS: Final = ("cfg", "dat", "hdr", "inf")
#: Longer than any record: a century [ns].
_LONGEST_NS: Final = 100 * 366 * 86_400 * float(NS)
_SEPARATOR = re.compile(
    rb"^-{1,4}[ \t]*file type:?[ \t]*(CFG|DAT|HDR|INF)\b[ \t]*(\w+)?[ \t]*(?::[ \t]*(\d+))?[ \t]*-*"
    rb"[ \t]*\r?\n",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Files:
    """The parts of a record as bytes, with the names they had."""

    cfg: bytes
    dat: Content
    hdr: bytes = b""
    inf: bytes = b""
    data_type: str | None = None
    name: str = ""


def read_comtrade(path: Path) -> Record:
    """Read a record by the path of any of its files; see `parse_comtrade`.

    Raises
    ------
    FormatError
        If the configuration or the samples are missing or worthless.
    """
    if path.suffix.lower() == ".cff":
        files, issues = split_cff(path.read_bytes(), path.name)
    else:
        files, issues = _beside(path), []
    record = parse_comtrade(files)
    return replace(record, issues=(*issues, *record.issues))


def _beside(path: Path) -> Files:
    """Return the files of a record: the same name, the endings in any case."""
    exact = f"{path.stem}."
    begin = exact.lower()
    folder = path.parent
    found: dict[str, Path] = {}
    # Names only: a folder may hold the events of years.
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.name.lower().startswith(begin))
    for name in names:
        ending = name[len(exact) :].lower()
        if ending in PARTS and (ending not in found or name.startswith(exact)):
            found[ending] = folder / name
    for ending in ("cfg", "dat"):
        if ending not in found:
            raise FormatError(
                f"The record has no {ending.upper()} file.",
                where=str(path),
                fix=f"Put {path.stem}.{ending} beside it.",
            )
    texts = ("cfg", "hdr", "inf")
    cfg, hdr, inf = (found[one].read_bytes() if one in found else b"" for one in texts)
    return Files(cfg, _read(found["dat"]), hdr, inf, name=path.name)


def _read(path: Path) -> memoryview:
    """Return a file's bytes in memory of numpy, whose large pages cost less than those of bytes."""
    with path.open("rb", buffering=0) as stream:
        buffer = np.empty(os.fstat(stream.fileno()).st_size, dtype=np.uint8)
        view = buffer.data
        filled = 0
        while filled < len(view) and (count := stream.readinto(view[filled:])):
            filled += count
    return view[:filled]


def split_cff(content: bytes, name: str = "") -> tuple[Files, list[Issue]]:
    """Take a combined file apart at its separators, also at those that vendors write wrongly.

    Raises
    ------
    FormatError
        If it has no configuration or no samples.
    """
    found: dict[str, bytes] = {}
    issues: list[Issue] = []
    data_type = None
    place = 0
    while match := _SEPARATOR.search(content, place):
        part = match[1].decode().lower()
        begin = match.end()
        if part == "dat":
            data_type = match[2].decode().upper() if match[2] else None
            length = int(match[3]) if match[3] else None
            end = len(content) if length is None else begin + length
            if length is not None and end > len(content):
                said = f"{len(content) - begin} of {length} bytes of samples are there."
                issues.append(Issue("cut", "error", name or "file", said))
                end = len(content)
        else:
            following = _SEPARATOR.search(content, begin)
            end = following.start() if following else len(content)
        found[part] = content[begin:end]
        place = end
    for part in ("cfg", "dat"):
        if part not in found:
            raise FormatError(
                f"The combined file has no {part.upper()} part.",
                where=name or None,
                fix="Its parts begin with lines like '--- file type: CFG ---'.",
            )
    cfg, dat, hdr, inf = (found.get(part, b"") for part in PARTS)
    return Files(cfg, dat, hdr, inf, data_type, name), issues


def parse_comtrade(files: Files) -> Record:
    """Parse a record.

    Returns
    -------
    Record
        ``data`` is an `EventRecord`; ``meta`` holds ``header`` and ``information`` as text.

    Raises
    ------
    FormatError
        If the configuration or the samples are worthless.
    """
    config, issues = parse_config(files.cfg, files.name)
    if files.data_type and files.data_type != config.data_type:
        said = f"The samples say {files.data_type}, the configuration {config.data_type}."
        issues.append(Issue("data_type", "warning", "file", said))
    samples, more = parse_data(files.dat, config, files.name)
    issues += more
    t_ns = _times(config, samples, files.name, issues)
    event = _event(config, samples, t_ns)
    start = event.start
    meta = {
        "identity": " ".join(filter(None, (config.station, config.device))) or None,
        "rows": event.samples,
        "first_time": str(start) if start else None,
        "last_time": str(start.later(int(t_ns[-1]))) if start else None,
        "timezone": {
            "name": config.time_code,
            "from": "file" if config.time_code else "none",
        },
        "encoding": config.encoding,
        "header": decode(files.hdr)[0] if files.hdr else "",
        "information": decode(files.inf)[0] if files.inf else "",
    }
    return Record(event, meta, tuple(issues))


def _times(config: Config, samples: Samples, name: str, issues: list[Issue]) -> Ints:
    """Return the time of each sample after the first [ns]: by the rates, else as stored."""
    count = len(samples.values)
    known = all(rate > 0 for rate, _ in config.rates)
    declared = config.rates[-1][1]
    if declared and declared != count:
        few = declared > count + 1
        said = f"{count} samples are there, {declared} are declared."
        code = "cut" if few else "sample_count"
        issues.append(Issue(code, "error" if few else "info", "rates", said))
    if known:
        times = by_rates(config.rates, count)
        _compare(times, samples, config, issues)
        return times
    if samples.ticks is None:
        raise FormatError(
            "Neither sampling rates nor times of the samples are known.",
            where=name or None,
            fix="Fetch the record again.",
        )
    ticks = samples.ticks.astype(np.float64)
    after_ns = (ticks - ticks[0]) * config.tick_ns
    if not np.all(np.abs(after_ns) < _LONGEST_NS):
        raise FormatError(
            "Times of the samples cannot be.", where=name or None, fix="Fetch the record again."
        )
    times = _whole(after_ns)
    if np.any(np.diff(times) < 0):
        issues.append(Issue("times", "warning", "samples", "Times of samples go back."))
    return times


def _compare(times: Ints, samples: Samples, config: Config, issues: list[Issue]) -> None:
    """Tell where the stored times are not those of the rates: devices write them at any scale."""
    if samples.ticks is None or len(times) < 2:
        return
    stored_ns = (float(samples.ticks[-1]) - float(samples.ticks[0])) * config.tick_ns
    if abs(stored_ns - times[-1]) > 0.01 * times[-1]:
        said = f"By their times the samples last {stored_ns / NS:.6g} s, by the rates "
        said += f"{times[-1] / NS:.6g} s; the rates hold."
        issues.append(Issue("times_differ", "info", "samples", said))


def by_rates(rates: tuple[tuple[float, int], ...], count: int) -> Ints:
    """Return the time of each sample after the first [ns], from rates that hold up to a sample.

    After sample n the time to the next is one period of the first rate whose last sample is not
    before n; the last rate also holds for samples beyond those declared.
    """
    steps = np.empty(count, dtype=np.float64)
    done = 0
    for number, (rate, last) in enumerate(rates):
        end = count if number == len(rates) - 1 else min(count, max(done, last))
        steps[done:end] = NS / rate
        done = end
    if len(rates) == 1:  # no error adds up
        return _whole(np.arange(count) * (NS / rates[0][0]))
    return _whole(np.concatenate(([0.0], np.cumsum(steps[:-1]))))


def _whole(values: NDArray[np.floating]) -> Ints:
    whole: Ints = np.rint(values).astype(np.int64)
    return whole


def _event(config: Config, samples: Samples, t_ns: Ints) -> EventRecord:
    summary: Mapping[str, str] = {"TIME_CODE": config.time_code} if config.time_code else {}
    return EventRecord(
        station=config.station,
        device=config.device,
        format="comtrade",
        revision=config.revision,
        data_type=config.data_type,
        frequency_hz=config.frequency_hz,
        start=config.start,
        trigger=config.trigger,
        t_ns=t_ns,
        analog=config.analog,
        digital=config.digital,
        values=samples.values,
        bits=samples.bits,
        rates=config.rates,
        summary=summary,
    )
