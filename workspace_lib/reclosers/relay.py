"""A session with a relay: found at whatever level it is, read at level 1, left by QUI.

Nothing can be sent but what `relay_commands` knows to read only, the password of level 1 where it
is asked for, carriage returns and CAN. A refused password is never sent a second time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Final

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import (
    ConfigError,
    DeviceTimeout,
    FrameError,
    ParameterError,
    WorkspaceError,
)
from workspace_lib.reclosers import relay_errors, ymodem
from workspace_lib.reclosers.record import NS, DeviceTime
from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.relay_frames import LEVELS, Frame, FrameReader
from workspace_lib.reclosers.relay_manners import ClockReading, Line, Manners, clock_in
from workspace_lib.reclosers.report import DateOrder

__all__ = ["Answer", "ClockReading", "DateOrder", "Line", "Manners", "RelaySession"]

log = logging.getLogger("workspace_lib.reclosers.relay")

_CAN: Final = b"\x18"
_CR: Final = b"\r"
_ASKED: Final = b"?"
_READY: Final = b"#"
_LEVEL_1: Final = b"=>"
_PASSWORD = re.compile(r"[!-~]{1,64}")
_READY_TO_SEND = re.compile(rb"ready to send", re.IGNORECASE)
#: By what the answer to a command is told from what the relay says unasked.
_LOOKS: Final = {
    **dict.fromkeys(("CHI", "CEV", "ID"), re.compile(rb'".*"', re.DOTALL)),
    "HIS": re.compile(rb"DATE\s+TIME|History|^\s*\d+\s+\d+[/-]\d+", re.MULTILINE),
    "EVE": re.compile(rb"FID=|Amps|Volts"),
    "FIL DIR": re.compile(rb"\.(CFG|DAT|HDR|CFF|CEV|TXT)\b|EVENTS|No files", re.IGNORECASE),
}


@dataclass(frozen=True)
class Answer:
    """What the relay answered to ``command``, without frame and prompt, as it came."""

    command: str
    content: bytes


@dataclass
class RelaySession:
    """One session; a context manager that logs in and always leaves by QUI.

    Parameters
    ----------
    line : Line
        Open, and nobody else's.
    password : callable, optional
        Returns the password of level 1; called only where the relay asks for it.
    manners : Manners
        How the relay is spoken to.
    clock : Clock
        This host's.

    Attributes
    ----------
    found_level : str
        At which level the relay was found: ``0``, ``1``, ``E``, ``B``, ``2``, ``C``.
    asked_password : bool
        Whether it asked for a password.
    aside : list of bytes
        What it said unasked, or what could not be made out, in order.
    readings : list of ClockReading
        What its clock said.
    disturbed : bool
        Whether anything came damaged or not at all: then a checksum alone proves little.
    """

    line: Line
    password: Callable[[], str] | None = None
    manners: Manners = field(default_factory=Manners)
    clock: Clock = SYSTEM_CLOCK
    found_level: str = ""
    asked_password: bool = False
    aside: list[bytes] = field(default_factory=list)
    readings: list[ClockReading] = field(default_factory=list)
    disturbed: bool = False
    _frames: FrameReader = field(default_factory=FrameReader)
    _echoes: bool = False
    _refused: bool = False
    _heard: bool = False

    def __enter__(self) -> RelaySession:
        try:
            self.open()
        except BaseException:
            self.leave(abort=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave(abort=error is not None)

    def open(self) -> None:
        """Find the relay's level and come to level 1.

        Raises
        ------
        RelaySilent
            If no prompt came.
        PasswordRefused
            If the password is not taken; nothing is tried after that.
        LevelLost
            If a higher level that it was found at could not be left.
        """
        if self._refused:
            raise self._password_refused()
        prompt = self._find_prompt()
        self.found_level = LEVELS[prompt]
        if prompt not in (b"=", _LEVEL_1):
            log.warning("%s was left at level %s by somebody.", self.line.where, self.found_level)
            self._send(Command("QUI"))
            try:
                while (prompt := self._listen(None, self.manners.probe_s)) != b"=":
                    self._put_aside()
            except DeviceTimeout as error:
                raise relay_errors.LevelLost(
                    f"Level {self.found_level} could not be left.",
                    where=self.line.where,
                    fix="Look at the transcript; nothing was done at that level.",
                ) from error
            self._answered()
        if prompt == b"=":
            self._log_in()

    def ask(self, command: Command) -> Answer:
        """Send a command and return its answer.

        Raises
        ------
        RelayRefused
            In one of its kinds: what the relay said in place of an answer.
        FrameError
            If the answer came damaged, incomplete or not at all, while the relay still prompts;
            asking again may help.
        LevelLost
            If the relay is not at level 1 any more.
        DeviceTimeout, LineDropped
            If the relay does not come back; the session is over.
        """
        self._frames.feed(self.line.poll())
        self._put_aside()
        began = self.clock.monotonic()
        try:
            self._send(command)
            content = self._answer(command)
        except DeviceTimeout as error:
            self.disturbed = True
            self._come_back()
            raise FrameError(
                f"{command.text} was not answered in full ({error.what})",
                where=self.line.where,
                fix="Ask again.",
            ) from error
        except FrameError:
            self.disturbed = True
            self._come_back()
            raise
        self._note_clock(content, began)
        if refused := relay_errors.refusal(content, self.line.where):
            raise refused
        return Answer(command.text, content)

    def fetch(self, command: Command) -> ymodem.Received:
        """Send a command that a file by Ymodem follows, and return the file.

        Raises
        ------
        RelayRefused, LevelLost, DeviceTimeout, LineDropped
            As `ask`.
        FrameError
            If the file did not arrive whole, while the relay still prompts; asking again may help.
        ConfigError
            If the line cannot carry files.
        """
        self._frames.feed(self.line.poll())
        self._put_aside()
        try:
            self._send(command)
            refused = self._ready_to_send()
            if refused is None:
                files, rest = ymodem.receive(self.line, self.manners.transfer)
        except (DeviceTimeout, FrameError) as error:
            self.disturbed = True
            ymodem.cancel(self.line)
            self._come_back()
            raise FrameError(
                f"{command.text} brought no whole file ({error.what})",
                where=self.line.where,
                fix="Ask again.",
            ) from error
        except ConfigError:
            ymodem.cancel(self.line)
            self._come_back()
            raise
        if refused is not None:
            raise refused
        self._frames.feed(rest)
        try:
            prompt = self._listen(None, self.manners.probe_s)
        except DeviceTimeout:
            self._come_back()  # the file is here all the same
        else:
            if prompt != _LEVEL_1:
                raise self._level_lost(prompt)
        self._frames.take()
        if not files:
            raise FrameError(
                f"{command.text} brought no file.", where=self.line.where, fix="Ask again."
            )
        return files[0]

    def relay_now(self) -> DeviceTime | None:
        """Return what the relay's clock shows now by its last reading; None if it said nothing."""
        if not self.readings:
            return None
        last = self.readings[-1]
        return last.relay.later(round((self.clock.now() - last.host).total_seconds() * NS))

    def leave(self, *, abort: bool = False) -> None:
        """End the session by QUI, after an abort by CAN and QUI; never raises.

        While a password is asked for, QUI would be taken for one: then CAN must bring a prompt
        first.
        """
        try:
            self.line.allow(2 * self.manners.probe_s)
            asked = self._frames.asks_password
            if abort:
                self.line.write(_CAN, at_once=True)
                self._frames.drop_open()
                if asked:
                    self._frames.take()
                    if self._listen(None, self.manners.probe_s) == _ASKED:
                        return
            if abort and not self._heard:
                # Whoever says nothing is not waited for once more.
                self._send(Command("QUI"), at_once=True)
                return
            self._put_aside()
            began = self.clock.monotonic()
            self._send(Command("QUI"), at_once=abort)
            prompt = self._listen(None, self.manners.probe_s)
            # A prompt and nothing else is a late one, of what was said before.
            while prompt != b"=" or not self._said().strip(b"\r\n =+>"):
                prompt = self._again()
            self._note_clock(b"".join(one.content for one in self._frames.frames[-1:]), began)
            self._answered()
        except WorkspaceError as error:
            log.info("%s was left without an answer to QUI: %s", self.line.where, error)

    def _find_prompt(self) -> bytes:
        """Return the prompt the relay shows; CAN ends what an earlier session left unfinished."""
        for _ in range(self.manners.tries):
            self.line.write(_CAN, at_once=True)
            self._frames.drop_open()
            self._put_aside()
            self.line.write(_CR, at_once=True)
            prompt = b""
            try:
                prompt = self._listen(None, self.manners.probe_s)
                while True:  # both CAN and CR may bring one: the last counts
                    prompt = self._again(self.manners.settle_s)
            except DeviceTimeout:
                if prompt in LEVELS:
                    self.line.resume()  # whoever shows a prompt takes commands
                    return prompt
        raise relay_errors.RelaySilent(
            "It says something, but shows no prompt." if self._heard else "It says nothing.",
            where=self.line.where,
            fix="Look at speed and framing of the line; the relay may be off or asleep.",
        )

    def _log_in(self) -> None:
        """Come to level 1 by ACC; a relay with its password jumper set asks for none."""
        began = self.clock.monotonic()
        self._send(Command("ACC"))
        deadline = self.line.command_deadline()
        sent = False
        heard_again = False
        prompt = self._listen(deadline, self.manners.probe_s)
        while prompt != _LEVEL_1:
            said = self._said()
            if prompt == _ASKED:
                if sent:
                    raise self._password_refused()
                self._echoes = self._echoes or b"ACC" in self._frames.outside
                self._frames.drop_open()
                self._put_aside()
                self.asked_password = sent = True
                began = self.clock.monotonic()
                self.line.write(self._word() + _CR, secret=True)
            elif b"invalid" in said.lower():
                if sent:
                    raise self._password_refused()
                refused = relay_errors.refusal(said, self.line.where)
                if heard_again or not isinstance(refused, relay_errors.InvalidCommand):
                    raise refused or self._password_refused()
                heard_again = True  # noise on the way; no password was said yet
                self._put_aside()
                self._send(Command("ACC"))
            elif prompt not in (b"=", _ASKED):
                raise self._level_lost(prompt)
            prompt = self._again() if prompt != _ASKED else self._listen(deadline, None)
        self._echoes = self._echoes or b"ACC" in self._frames.outside
        self._note_clock(self._said(), began)
        self._answered()

    def _word(self) -> bytes:
        word = self.password() if self.password is not None else None
        if word is None or not _PASSWORD.fullmatch(word):
            raise ConfigError(
                "The relay asks for the password of level 1, and "
                + ("none is set." if word is None else "the one that is set cannot be typed."),
                where=self.line.where,
                fix="Set the secret that its list names: 1 to 64 printable characters, no blanks.",
            )
        return word.encode("ascii")

    def _password_refused(self) -> relay_errors.PasswordRefused:
        self._refused = True
        return relay_errors.PasswordRefused(
            "The password of level 1 was refused; it is not tried again.",
            where=self.line.where,
            fix="Correct the secret before the next run: three refusals raise the relay's alarm.",
        )

    def _answer(self, command: Command) -> bytes:
        looks = _LOOKS.get(command.text[:7], _LOOKS.get(command.verb))
        deadline = self.line.command_deadline()
        echoed = not self._echoes
        prompt = self._listen(deadline, None)
        while True:
            if prompt == _ASKED:
                raise self._level_lost(prompt)
            echo = self._frames.outside.rfind(command.verb.encode())
            echoed = echoed or echo >= 0
            outside = bytes(self._frames.outside)
            found: list[Frame] = []
            for frame in self._frames.take():
                refused = relay_errors.refusal(frame.content) is not None
                fits = refused or looks is None or looks.search(frame.content) is not None
                if fits and echoed and frame.after >= echo:
                    found.append(frame)
                else:
                    self.aside.append(frame.content)
            if found:
                break
            if relay_errors.refusal(outside):
                return outside
            try:
                prompt = self._listen(deadline, self.manners.probe_s)
            except DeviceTimeout as error:
                raise FrameError(
                    f"What came is no answer to {command.text}.",
                    where=self.line.where,
                    fix="Ask again, and look at the transcript.",
                ) from error
        if not all(frame.whole for frame in found):
            raise FrameError(
                f"A frame of the answer to {command.text} has no end.",
                where=self.line.where,
                fix="Ask again.",
            )
        if prompt != _LEVEL_1:
            raise self._level_lost(prompt)
        return b"".join(frame.content for frame in found)

    def _ready_to_send(self) -> relay_errors.RelayRefused | None:
        """Read until the relay is ready to send a file; return what it says in place of that."""
        deadline = self.line.command_deadline()
        prompt = self._listen(deadline, None, ready=True)
        while prompt != _READY:
            if prompt == _ASKED:
                raise self._level_lost(prompt)
            said = self._said()
            if refused := relay_errors.refusal(said, self.line.where):
                self._frames.take()
                if prompt != _LEVEL_1:
                    raise self._level_lost(prompt)
                return refused
            self._put_aside()
            prompt = self._listen(deadline, self.manners.probe_s, ready=True)
        self._frames.drop_open()
        self.aside += [
            one.content
            for one in self._frames.take()
            if one.content.strip() and not _READY_TO_SEND.search(one.content)
        ]
        return None

    def _come_back(self) -> None:
        """Bring the relay back to its prompt after an answer that was not whole."""
        if self._frames.within:
            self.aside.append(self._frames.drop_open())
        prompt = self._find_prompt()
        if prompt != _LEVEL_1:
            raise self._level_lost(prompt)

    def _level_lost(self, prompt: bytes) -> relay_errors.LevelLost:
        level = LEVELS.get(prompt)
        return relay_errors.LevelLost(
            f"The relay is at level {level} now." if level else "The relay asks for a password.",
            where=self.line.where,
            fix="It started anew or gave up waiting; it is visited again later.",
        )

    def _send(self, command: Command, *, at_once: bool = False) -> None:
        if type(command) is not Command:  # whatever else has a ``wire`` was not looked at
            raise ParameterError("Only a Command is sent to a relay.", fix="Make one of its text.")
        self.line.write(command.wire, at_once=at_once)

    def _listen(
        self, deadline: float | None, silence_s: float | None, *, ready: bool = False
    ) -> bytes:
        """Read until a prompt, or `_ASKED` where a password is asked for; return it.

        If ``ready``, also until a file is announced, which is `_READY`.
        """
        while True:
            if ready and _READY_TO_SEND.search(self._said() + self._frames.begun):
                return _READY
            if self._frames.prompt:
                return self._frames.prompt
            if self._frames.asks_password:
                return _ASKED
            bare = self._frames.bare_prompt()
            try:
                data = self.line.read(deadline, self.manners.settle_s if bare else silence_s)
            except DeviceTimeout:
                if bare:
                    return bare
                raise
            self._heard = True
            self._frames.feed(data)

    def _again(self, silence_s: float | None = None) -> bytes:
        """Put aside what was said and listen for the next prompt."""
        self._put_aside()
        return self._listen(None, self.manners.probe_s if silence_s is None else silence_s)

    def _said(self) -> bytes:
        frames = b"".join(frame.content for frame in self._frames.frames)
        return frames + bytes(self._frames.outside)

    def _put_aside(self) -> None:
        self.aside += [one.content for one in self._frames.take() if one.content.strip()]

    def _answered(self) -> None:
        """Forget the last frame, which was the answer; what came before it was unasked."""
        self.aside += [one.content for one in self._frames.take()[:-1] if one.content.strip()]

    def _note_clock(self, content: bytes, began: float) -> None:
        took = self.clock.monotonic() - began
        host = self.clock.now() - timedelta(seconds=took / 2)
        reading = clock_in(content, self.manners.date_order, host, took / 2)
        if reading is not None:
            self.readings.append(reading)
