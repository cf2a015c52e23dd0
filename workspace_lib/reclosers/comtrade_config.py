"""The configuration of a COMTRADE record (CFG): stations, channels, rates, times, how samples lie.

IEEE C37.111 of 1991, 1999 and 2013 and what devices write in their place. What is odd but leaves
the samples sound is an issue; only what makes them worthless is refused, with its line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import charset_normalizer

from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue
from workspace_lib.reclosers.record import Analog, DeviceTime, Digital, Scale, device_time

KNOWN_REVISIONS: Final = ("1991", "1999", "2013")
#: Encodings that names of stations were seen in, where they are not UTF-8.
ENCODINGS: Final = ("gb18030", "cp1251", "cp1252")
DATA_TYPES: Final = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
#: More channels than any device has: a configuration that says so is damaged.
MOST_CHANNELS: Final = 100_000
#: Beyond these a sampling rate is damaged: samples would last for ages, or no time at all [Hz].
SLOWEST_HZ: Final = 1e-3
FASTEST_HZ: Final = 1e12
_TIME = re.compile(
    r"(\d{1,4})\s*/\s*(\d{1,2})\s*/\s*(\d{1,4})\s*,\s*"
    r"(\d{1,2})\s*:\s*(\d{1,2})\s*:\s*(\d{1,2})(?:\.(\d{1,12}))?"
)
_SCALES: Final[dict[str, Scale]] = {"P": "P", "S": "S", "p": "P", "s": "S"}
_COUNT = re.compile(r"\s*(\d+)")


@dataclass(frozen=True)
class Config:
    """What a CFG says; ``gain`` and ``offset`` make values of what is stored: gain · x + offset.

    ``rates`` are (Hz, last sample counted from 1); none, or 0 Hz: times come with the samples, in
    units of ``tick_ns`` [ns].
    """

    station: str
    device: str
    revision: str
    analog: tuple[Analog, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    digital: tuple[Digital, ...]
    frequency_hz: float | None
    rates: tuple[tuple[float, int], ...]
    start: DeviceTime | None
    trigger: DeviceTime | None
    data_type: str
    tick_ns: float
    time_code: str | None
    encoding: str

    @property
    def is_1991(self) -> bool:
        """Whether it follows the first edition, which says nothing of itself."""
        return self.revision == "1991"


def decode(content: bytes) -> tuple[str, str]:
    """Return a text and the encoding it was taken for: UTF-8, else what its bytes look like.

    The standard allows ASCII alone until 2013; devices write names in the encoding of their
    country.
    """
    body = content.rstrip(b"\x1a\x00 \r\n\t")
    try:
        return body.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        found = charset_normalizer.from_bytes(body, cp_isolation=list(ENCODINGS)).best()
        encoding = found.encoding if found else ENCODINGS[-1]
        return body.decode(encoding, errors="replace"), encoding


def parse_config(content: bytes, name: str = "") -> tuple[Config, list[Issue]]:
    """Parse a CFG.

    Raises
    ------
    FormatError
        If channels or the kind of samples cannot be known; the line is named.
    """
    text, encoding = decode(content)
    return _Reader(text, encoding, name).config()


class _Reader:
    """Goes through a CFG line by line and notes what is odd."""

    def __init__(self, text: str, encoding: str, name: str) -> None:
        self.lines = text.replace("\x1a", "").splitlines()
        self.name = name
        self.encoding = encoding
        self.place = 0
        self.issues: list[Issue] = []
        if encoding != "utf-8":
            self.note("encoding", "info", f"The text is no UTF-8; read as {encoding}.", "file")

    def note(self, code: str, severity: str, message: str, where: str | None = None) -> None:
        self.issues.append(
            Issue(code, severity, where or f"line {self.place}", message)  # type: ignore[arg-type]
        )

    def refuse(self, message: str) -> FormatError:
        where = f"{self.name}:{self.place}" if self.name else f"line {self.place}"
        fix = "Fetch the record again; without this its samples cannot be read."
        return FormatError(message, where=where, fix=fix)

    def fields(self, what: str) -> list[str]:
        """Return the fields of the next line, which must be there."""
        if self.place >= len(self.lines):
            raise self.refuse(f"The configuration ends before {what}.")
        self.place += 1
        line = self.lines[self.place - 1]
        fields = line.split(",")
        # Blanks are rare, and a file has thousands of lines.
        return fields if line.isprintable() and " " not in line else [one.strip() for one in fields]

    def optional(self) -> list[str] | None:
        """Return the fields of the next line that is not blank, or None at the end."""
        while self.place < len(self.lines):
            fields = self.fields("its end")
            if any(fields):
                return fields
        return None

    def config(self) -> tuple[Config, list[Issue]]:
        head = self.fields("the station")
        station, device = head[0], head[1] if len(head) > 1 else ""
        revision = head[2] if len(head) > 2 else ""
        edition = revision or "1991"
        if edition not in KNOWN_REVISIONS:
            self.note("revision", "warning", f"{edition!r} is no edition; read like 1999.")
        is_1991 = edition == "1991"
        analogs, digitals = self._counts()
        channels = [self._analog(is_1991) for _ in range(analogs)]
        bits = [self._digital(is_1991) for _ in range(digitals)]
        frequency = self._number(self.fields("the frequency")[0], "frequency")
        rates = self._rates()
        start = self._time(is_1991, "start")
        trigger = self._time(is_1991, "trigger")
        # A trigger up to a second before the first sample is rounding.
        if start and trigger and not -(10**9) < trigger.ns - start.ns < 86_400 * 10**9:
            self.note("trigger", "warning", f"The trigger ({trigger}) is far from {start}.")
            trigger = None
        data_type = self._data_type()
        factor = self._factor()
        codes = self.optional()
        nanoseconds = edition == "2013" and start is not None and start.digits > 6
        return Config(
            station,
            device,
            edition,
            tuple(channel for channel, _, _ in channels),
            tuple(gain for _, gain, _ in channels),
            tuple(offset for _, _, offset in channels),
            tuple(bits),
            frequency or None,
            rates,
            start,
            trigger,
            data_type,
            factor * (1.0 if nanoseconds else 1000.0),
            codes[0] if codes else None,
            self.encoding,
        ), self.issues

    def _counts(self) -> tuple[int, int]:
        fields = self.fields("the number of channels")
        found = [_COUNT.match(field) for field in fields[:3]]
        if len(found) < 3 or not all(found):
            raise self.refuse(f"{','.join(fields)!r} are no numbers of channels.")
        total, analogs, digitals = (int(match[1]) for match in found if match)
        if not 0 < analogs + digitals <= MOST_CHANNELS:
            raise self.refuse(f"{analogs} analog and {digitals} digital channels cannot be.")
        if total != analogs + digitals or not fields[0].isdigit():
            self.note(
                "channel_count",
                "warning",
                f"{fields[0]} channels are not {analogs} analog and {digitals} digital ones.",
            )
        return analogs, digitals

    def _analog(self, is_1991: bool) -> tuple[Analog, float, float]:
        fields = self.fields("all analog channels")
        if plain := _plain_channel(fields):
            return plain
        if len(fields) > 13:  # a comma in the name
            extra = len(fields) - 13
            fields = [fields[0], ",".join(fields[1 : 2 + extra]), *fields[2 + extra :]]
        if len(fields) < 7:
            raise self.refuse(f"An analog channel has {len(fields)} fields.")
        gain, offset = self._number(fields[5], "factor"), self._number(fields[6], "offset")
        if gain is None or offset is None:
            raise self.refuse(
                f"Channel {fields[1]!r}: {fields[5]!r} and {fields[6]!r} do not make values."
            )
        skew = self._number(fields[7], "skew") if len(fields) > 7 and fields[7] else 0.0
        ratio, scale = None, None
        if len(fields) >= 12:
            primary, secondary = (self._number(one, "ratio") for one in fields[10:12])
            ratio = primary / secondary if primary and secondary else None
            last = fields[12].upper() if len(fields) > 12 else ""
            scale = self._scale(last)
        elif not is_1991:
            self.note("ratio", "info", f"Channel {fields[1]!r} has no ratio.")
        channel = Analog(
            fields[1],
            fields[4],
            fields[2],
            fields[3],
            scale,
            ratio,
            (skew or 0.0) / 1e6,
        )
        return channel, gain, offset

    def _scale(self, text: str) -> Scale | None:
        if text in ("P", "S"):
            return "P" if text == "P" else "S"
        self.note("scale", "info", f"{text!r} is neither P nor S.")
        return None

    def _digital(self, is_1991: bool) -> Digital:
        fields = self.fields("all digital channels")
        name = fields[1] if len(fields) > 1 else ""
        if is_1991 or len(fields) < 5:
            return Digital(name, normal=int(fields[2] == "1") if len(fields) > 2 else 0)
        return Digital(name, fields[2], fields[3], int(fields[4] == "1"))

    def _rates(self) -> tuple[tuple[float, int], ...]:
        number = self._number(self.fields("the number of rates")[0], "number of rates")
        if number is None:
            raise self.refuse("The number of sampling rates is not known.")
        rates: list[tuple[float, int]] = []
        for _ in range(max(1, int(number))):
            fields = self.fields("the sampling rates")
            rate = self._number(fields[0], "sampling rate")
            if rate and not SLOWEST_HZ <= rate <= FASTEST_HZ:
                self.note("bad_number", "warning", f"{rate:g} Hz is no sampling rate.")
                rate = None
            last = self._number(fields[1], "last sample") if len(fields) > 1 else None
            rates.append((rate or 0.0, int(last or 0)))
        return tuple(rates)

    def _time(self, is_1991: bool, what: str) -> DeviceTime | None:
        text = ",".join(self.fields(f"the time of the {what}"))
        match = _TIME.search(text)
        if match is None:
            self.note(f"{what}_time", "warning", f"{text!r} is no time: it is not known.")
            return None
        first, second, year, hour, minute, seconds = (int(match[n]) for n in range(1, 7))
        day, month = (second, first) if is_1991 else (first, second)
        if 31 >= month > 12 >= day:
            self.note("date_order", "warning", f"{text!r} has month and day exchanged.")
            day, month = month, day
        if year < 100:
            year += 2000 if year < 70 else 1900
        fraction = (match[7] or "")[:9]
        try:
            moment = datetime(year, month, day, hour, minute, seconds)
        except ValueError as error:
            self.note(f"{what}_time", "warning", f"{text!r} is no time ({error}): not known.")
            return None
        return device_time(moment, int(fraction.ljust(9, "0") or 0), len(fraction))

    def _data_type(self) -> str:
        text = self.fields("the kind of samples")[0].upper()
        if text not in DATA_TYPES:
            raise self.refuse(f"{text!r} is no kind of samples ({', '.join(DATA_TYPES)}).")
        return text

    def _factor(self) -> float:
        fields = self.optional()
        factor = self._number(fields[0], "time factor") if fields else 1.0
        if factor is None or factor <= 0:
            self.note("time_factor", "warning", "The factor of times is not known: 1 taken.")
            return 1.0
        return factor

    def _number(self, text: str, what: str) -> float | None:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):
            if text:
                self.note("bad_number", "warning", f"The {what} {text[:20]!r} is no number.")
            return None
        return number


def _plain_channel(fields: Sequence[str]) -> tuple[Analog, float, float] | None:
    """Return a channel of which everything is as the standard wants it, as nearly all are.

    A file has thousands of lines, and most of the time goes into looking for what is odd.
    """
    if len(fields) != 13:
        return None
    try:
        gain, offset, skew = float(fields[5]), float(fields[6]), float(fields[7])
        primary, secondary = float(fields[10]), float(fields[11])
    except ValueError:
        return None
    scale = _SCALES.get(fields[12])
    if scale is None or not primary or not secondary:
        return None
    if not math.isfinite(gain + offset + skew + primary + secondary):
        return None
    ratio = primary / secondary
    channel = Analog(fields[1], fields[4], fields[2], fields[3], scale, ratio, skew / 1e6)
    return channel, gain, offset


def names(channels: Sequence[Analog] | Sequence[Digital]) -> list[str]:
    """Return the names of channels."""
    return [channel.name for channel in channels]
