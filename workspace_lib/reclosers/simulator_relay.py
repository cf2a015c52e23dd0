"""What a simulated relay answers: commands, levels, passwords, history, and what goes wrong.

It takes bytes and gives bytes, and knows neither ports nor time to wait: `simulator` moves them.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from workspace_lib.reclosers.simulator_events import (
    FIDS,
    Model,
    Options,
    SimulatedEvent,
    checked,
    quoted,
)
from workspace_lib.reclosers.simulator_files import (
    BEFALL,
    Numbers,
    Sender,
    Trouble,
    Ways,
    content_of,
    directory,
    names_of,
)

STX, ETX, CAN, XON, XOFF = b"\x02", b"\x03", 0x18, 0x11, 0x13
PROMPTS: Final = {"0": "=", "1": "=>", "E": "=+>", "B": "==>", "2": "=>>", "C": "==>>"}
_ENTER: Final = {"ACC": "1", "EZA": "E", "BAC": "B", "2AC": "2", "CAL": "C"}
_HIS: Final = "#     DATE      TIME     EVENT   LOCAT  CURR  FREQ GRP SHOT TARGETS"
_CHI: Final = {
    "351R": "REC_NUM MONTH DAY YEAR HOUR MIN SEC MSEC EVENT LOCATION CURR FREQ GROUP SHOT TARGETS",
    "651R": "# MONTH DAY YEAR HOUR MIN SEC MSEC EVENT LOCAT CURRENT FREQ GROUP SHOT TARGETS",
}

FaultKind = Literal[
    "noise", "drop", "stall", "cut", "mute", "auto", "event", "padding", "invalid", "clock"
]


@dataclass
class Fault:
    """Something that goes wrong with the next answers to a command.

    Attributes
    ----------
    kind
        ``noise`` changes ``size`` bytes from place ``at`` of the answer on, ``drop`` loses them;
        ``stall`` sends XOFF there and stops for ``wait_s`` [s], or for good (None); ``cut`` hangs
        up there; ``mute`` answers nothing; ``auto`` says something unasked first; ``event`` is a
        new event just before; ``padding`` adds ``size`` bytes 0x1A; ``invalid`` has heard another
        command; ``clock`` sets the clock by ``wait_s`` [s].
    verb
        The command it goes with: ``CEV``, ``FIL``, or ``FIL READ`` alone; ``nth`` is how many of
        them go well before. Of a file by Ymodem ``at`` counts the bytes of its transfer, and
        ``event``, ``auto`` and ``clock`` happen there too.
    times
        How often it happens.
    every
        Within a transfer: after how many bytes it happens again, 0 for once.
    """

    kind: FaultKind
    verb: str = "CEV"
    at: int = 400
    size: int = 3
    wait_s: float | None = None
    nth: int = 0
    times: int = 1
    every: int = 0


@dataclass
class Hangup:
    """The relay, or what is between, ends the connection."""


@dataclass
class Pause:
    """The relay sends nothing for a time [s]; None is for good, until CAN."""

    seconds: float | None


Output = bytes | Hangup | Pause


@dataclass
class RelaySpec:
    """How a relay is: model, name, passwords, how it speaks, what it does wrong.

    ``files`` is how it gives event files: by Ymodem, as text, both, not at all, or as its model
    does (None); ``file_numbers`` counts them ``up`` or from the ``newest`` on; ``folder``: whether
    they are in EVENTS or in one list. ``tells_size``: whether block 0 of Ymodem has it.
    ``takes_count``: whether CHI and HIS take a number of rows. ``erased`` are keys of events whose
    report and files are gone, ``fileless`` whose files are.
    """

    model: Model = "351R"
    rid: str = "FEEDER 12"
    tid: str = "STATION A"
    events: list[SimulatedEvent] = field(default_factory=list)
    password: str = "OTTER"
    jumper: bool = False
    level: str = "0"
    auto: bool = False
    bare_prompts: bool = False
    has_chi: bool = True
    faults: list[Fault] = field(default_factory=list)
    erased: set[tuple[str, str]] = field(default_factory=set)
    clock_error_s: float = 0.0
    files: Ways | None = None
    file_numbers: Numbers = "up"
    tells_size: bool = True
    folder: bool = True
    takes_count: bool = True
    fileless: set[tuple[str, str]] = field(default_factory=set)

    @property
    def ways(self) -> Ways:
        """How it gives event files."""
        return self.files or ("read" if self.model == "651R" else "none")

    def stems(self) -> dict[str, SimulatedEvent]:
        """Return the event of each set of files that is stored, newest first."""
        return {
            stem: event
            for stem, event in names_of(self.events, self.file_numbers).items()
            if event.key not in self.erased | self.fileless
        }


class SimulatedRelay:
    """One relay; its level, its events and its clock stay when a connection ends."""

    def __init__(self, spec: RelaySpec, now: Callable[[], datetime], seed: int = 1) -> None:
        self.spec = spec
        self.level = spec.level
        self.commands: list[str] = []
        self.passwords_refused = 0
        self.alarms = 0
        self.output: deque[Output] = deque()
        self._now = now
        self._typed = bytearray()
        self._asking = ""
        self._tries = 0
        self._dice = random.Random(seed)
        self._heard: dict[str, int] = {}
        self._sender: Sender | None = None
        self._trouble: Trouble | None = None

    def wall(self) -> datetime:
        """Return the time of the relay's clock, naive, to the millisecond."""
        when = self._now() + timedelta(seconds=self.spec.clock_error_s)
        return when.replace(tzinfo=None, microsecond=when.microsecond // 1000 * 1000)

    def happen(self) -> SimulatedEvent:
        """Let an event happen now; its time is that of the relay's clock."""
        taken = {event.time for event in self.spec.events}
        when = self.wall()
        while when in taken:
            when += timedelta(milliseconds=1)
        kind = self._dice.choice(("AG", "BC", "ABC"))
        event = SimulatedEvent(
            self.spec.model,
            when,
            kind,
            0,
            self._dice.uniform(0.1, 0.9),
            rid=self.spec.rid,
            tid=self.spec.tid,
        )
        self.spec.events.insert(0, event)
        if self.spec.auto:
            self._say(f"{self._header()}\r\nEvent: {event.type}  Targets: {event.targets}\r\n")
            self._prompt()
        return event

    def feed(self, data: bytes) -> None:
        """Take what was typed; answers go to ``output``."""
        for byte in data:
            if self._sender is not None:
                self._transfer(self._sender, byte)
            elif byte == CAN:
                # It ends what is being sent, and what was being asked for.
                self.output.clear()
                self._typed.clear()
                self._asking = ""
                self._prompt()
            elif byte in (XON, XOFF, 0x0A):
                continue
            elif byte != 0x0D:
                self._typed.append(byte)
                self.output.append(b"*" if self._asking else bytes((byte,)))
            else:
                self.output.append(b"\r\n")
                typed = self._typed.decode("latin-1")
                self._typed.clear()
                if self._asking:
                    self._password(typed)
                else:
                    self._command(typed)

    def forget_line(self) -> None:
        """The connection ended: what was typed or being sent is gone; the level is not."""
        self._typed.clear()
        self.output.clear()
        self._asking = ""
        self._sender = None

    def _command(self, typed: str) -> None:
        words = [word for word in re.split(r"[ ,;:/]+", typed.strip().upper()) if word]
        if not words:
            self._prompt()
            return
        self.commands.append(typed)
        verb = words[0][:3]
        before = len(self.output)
        faults = self._due(verb, words[1:2])
        invalid = any(fault.kind == "invalid" for fault in faults)
        if words[:1] + words[1:2] == ["FIL", "READ"] and not invalid:
            self._read_file(words[2:], faults)
            return
        for fault in faults:
            if fault.kind in BEFALL:
                self._befall(fault)
                before = len(self.output)
        if invalid:
            self._say("\r\nInvalid Command\r\n")
        else:
            self._answer(verb, words[1:])
        if not self._asking:
            self._prompt()
        self._spoil(before, [f for f in faults if f.kind not in BEFALL])

    def _answer(self, verb: str, words: Sequence[str]) -> None:
        if verb in _ENTER:
            self._enter(verb)
        elif verb in ("QUI", "EXI"):
            self._say(self._header())
            self.level = "0"
        elif verb == "ID":
            self._say("\r\n" + b"".join(self._identity()).decode("latin-1"))
        elif self.level == "0":
            self._say("\r\nInvalid Access Level\r\n")
        elif verb == "CHI" and self.spec.has_chi:
            self._say(self._chi(words).decode("latin-1"))
        elif verb == "CEV":
            self._say(self._cev(words).decode("latin-1"))
        elif verb == "HIS":
            self._his(words)
        elif verb == "EVE":
            self._say(self._eve(words))
        elif verb == "FIL" and self.spec.ways != "none":
            self._say(self._file(words))
        elif verb in ("TIM", "DAT", "STA", "MET", "SER", "SUM", "SHO"):
            self._say(f"{self._header()}\r\n{verb} {' '.join(words)}\r\n")
        else:
            self._say("\r\nInvalid Command\r\n")

    def _enter(self, verb: str) -> None:
        if self.spec.jumper:
            self._entered(_ENTER[verb])
            return
        self._asking, self._tries = verb, 0
        self._ask()

    def _ask(self) -> None:
        more = "\r\n" if self.spec.model == "651R" else ""
        self.output.append(b"\r\n" + STX + f"{more}Password: ? ".encode())

    def _password(self, typed: str) -> None:
        if typed == self.spec.password:
            verb, self._asking = self._asking, ""
            self._entered(_ENTER[verb])
            self._prompt()
            return
        self._tries += 1
        self.passwords_refused += 1
        if self._tries < 3:
            self._say("\r\nInvalid Password\r\n")
            self._ask()
            return
        self.alarms += 1
        self._asking = ""
        self._say("\r\nInvalid Access\r\n")
        self._prompt()

    def _entered(self, level: str) -> None:
        self.level = level
        self.alarms += level != "1"
        self._say(f"{self._header()}\r\nLevel {level}\r\n")

    def _identity(self) -> list[bytes]:
        fid = FIDS[self.spec.model]
        device = "SEL-351R" if self.spec.model == "351R" else "SEL-651R-2"
        texts = (f"FID={fid}", "CID=59A0", f"DEVID={self.spec.tid}", f"PARTNO={device[4:]}11B")
        return [*(checked(f'"{text}"') for text in texts), checked(f'"DEVCODE={device}"')]

    def _listed(self, words: Sequence[str]) -> list[SimulatedEvent]:
        count = int(words[0]) if words and words[0].isdigit() and self.spec.takes_count else None
        return self.spec.events[:count]

    def _chi(self, words: Sequence[str]) -> bytes:
        if not self.spec.events:
            return checked('"No Data Available"')
        rows = [checked(quoted(_CHI[self.spec.model].split()))]
        for number, event in enumerate(self._listed(words), start=1):
            when = event.time
            place = "$$$$$$$" if event.location is None else f"{event.location:.2f}"
            rows.append(
                checked(
                    f"{number},{when.month},{when.day},{when.year},{when.hour},{when.minute},"
                    f"{when.second},{when.microsecond // 1000},{quoted([event.type])},{place},"
                    f"{event.current_a},59.98,1,{event.shot},{quoted([event.targets])}"
                )
            )
        return b"".join(rows)

    def _his(self, words: Sequence[str]) -> None:
        if words and words[0][0] in "CR":
            self.spec.events.clear()
            self._say("\r\nHistory Buffer Cleared\r\n")
            return
        lines = [self._header(), _HIS, ""]
        for number, event in enumerate(self._listed(words), start=1):
            place = "$$$$$$" if event.location is None else f"{event.location:.2f}"
            stamp = f"{event.time:%m/%d/%y %H:%M:%S}.{event.time.microsecond // 1000:03d}"
            lines.append(
                f"{number:<2} {stamp} {event.type:<6} {place:>6} {event.current_a:>5} 59.98"
                f"  1    {event.shot}  {event.targets}"
            )
        if not self.spec.events:
            lines.append("History Buffer Empty")
        self._say("\r\n".join(lines) + "\r\n")

    def _cev(self, words: Sequence[str]) -> bytes:
        number = int(words[0]) if words and words[0].isdigit() else 1
        if not 1 <= number <= len(self.spec.events):
            return checked('"No Data Available"')
        event = self.spec.events[number - 1]
        if event.key in self.spec.erased:
            return checked('"No Data Available"')
        return event.cev(Options.of(words[1:]))

    def _eve(self, words: Sequence[str]) -> str:
        number = int(words[0]) if words and words[0].isdigit() else 1
        if not 1 <= number <= len(self.spec.events):
            return "\r\nInvalid Event\r\n"
        event = self.spec.events[number - 1]
        return (
            f"{self._header()}\r\nFID={FIDS[self.spec.model]}\r\n"
            f"Event: {event.type}  Location: {event.location}\r\nCurrents (A Pri): "
            f"{event.current_a}\r\n"
        )

    def _file(self, words: Sequence[str]) -> str:
        """Return what ``FIL DIR`` and ``FIL SHOW`` say."""
        stems = self.spec.stems()
        if words[:1] == ["DIR"]:
            if len(words) == 1 and self.spec.folder:
                return "\r\nCFG.TXT                   R\r\nEVENTS\r\nSETTINGS\r\n"
            if words[1:] != self._folder():
                return "\r\nDirectory does not exist\r\n"
            return directory(stems)
        if words[:1] != ["SHOW"] or self.spec.ways == "read":
            return "\r\nInvalid Parameter\r\n"
        inside = words[1:-1] == self._folder()
        found = content_of(words[-1], stems, text=True) if inside else None
        if found is None:
            return "\r\nFile specified does not exist\r\n"
        return "\r\n" + found[1].decode("ascii")

    def _folder(self) -> list[str]:
        return ["EVENTS"] if self.spec.folder else []

    def _read_file(self, words: Sequence[str], faults: Sequence[Fault]) -> None:
        """Begin to send a file by Ymodem, or say why not."""
        stems, ways = self.spec.stems(), self.spec.ways
        refusal = ""
        found = None
        if self.level == "0":
            refusal = "Invalid Access Level"
        elif ways == "none":
            refusal = "Invalid Command"
        elif ways == "show":
            refusal = "Invalid Parameter"
        elif words[:-1] == self._folder():
            found = content_of(words[-1], stems, text=ways != "read")
        if found is None:
            self._say(f"\r\n{refusal or 'File specified does not exist'}\r\n")
            self._prompt()
            return
        if any(fault.kind == "mute" for fault in faults):
            return
        padding = sum(fault.size for fault in faults if fault.kind == "padding")
        content = found[1] + b"\x1a" * padding
        self._sender = Sender(words[-1], content, told=self.spec.tells_size)
        stream = [fault for fault in faults if fault.kind != "padding"]
        self._trouble = Trouble(stream, self._sender.length, self._dice, self._befall)
        self._say("\r\n#000 Ready to send file\r\n")

    def _transfer(self, sender: Sender, byte: int) -> None:
        said = sender.heard(byte)
        if sender.over:
            if sender.cancelled:
                self.output.clear()
            self._sender = None
            self._say("\r\nTransfer " + ("aborted" if sender.cancelled else "complete") + "\r\n")
            self._prompt()
        elif said and self._trouble is not None:
            for piece in self._trouble.spoil(said):
                if isinstance(piece, bytes):
                    self.output.append(piece)
                else:
                    self.output.append(Hangup() if piece[0] == "hangup" else Pause(piece[1]))

    def _header(self) -> str:
        now = self.wall()
        stamp = f"Date: {now:%m/%d/%y}    Time: {now:%H:%M:%S}.{now.microsecond // 1000:03d}"
        return f"\r\n{self.spec.rid:<33}{stamp}\r\n{self.spec.tid}\r\n"

    def _say(self, text: str) -> None:
        self.output.append(STX + text.encode("latin-1") + ETX)

    def _prompt(self) -> None:
        shown = b"\r\n" + PROMPTS[self.level].encode()
        self.output.append(shown if self.spec.bare_prompts else STX + shown + ETX)

    def _due(self, verb: str, words: Sequence[str]) -> list[Fault]:
        found: list[Fault] = []
        for name in (verb, " ".join((verb, *words))) if words else (verb,):
            heard = self._heard[name] = self._heard.get(name, 0) + 1
            found += [
                fault
                for fault in self.spec.faults
                if fault.verb == name and fault.nth < heard <= fault.nth + fault.times
            ]
        return found

    def _befall(self, fault: Fault) -> None:
        if fault.kind == "event":
            self.happen()
        elif fault.kind == "clock":
            self.spec.clock_error_s += fault.wait_s or 0.0
        else:
            self._say(f"{self._header()}\r\nRelay self-test: OK, nobody asked\r\n")
            self._prompt()

    def _spoil(self, before: int, faults: Sequence[Fault]) -> None:
        """Let faults do their work on what was said since ``output`` had ``before`` pieces."""
        if not faults:
            return
        said = [self.output.pop() for _ in range(len(self.output) - before)][::-1]
        whole = b"".join(piece for piece in said if isinstance(piece, bytes))
        for fault in faults:
            at = min(fault.at, len(whole)) if fault.at >= 0 else max(len(whole) + fault.at, 0)
            head, tail = whole[:at], whole[at:]
            if fault.kind == "mute":
                return
            if fault.kind == "noise":
                hit = bytes(byte ^ self._dice.randrange(1, 128) for byte in tail[: fault.size])
                whole = head + hit + tail[fault.size :]
            elif fault.kind == "drop":
                whole = head + tail[fault.size :]
            elif fault.kind == "padding":
                end = whole.find(ETX)
                whole = whole[:end] + b"\x1a" * fault.size + whole[end:]
            elif fault.kind == "stall":
                self.output += [head + bytes((XOFF,)), Pause(fault.wait_s)]
                whole = bytes((XON,)) + tail
            elif fault.kind == "cut":
                self.output += [head, Hangup()]
                return
        self.output.append(whole)
