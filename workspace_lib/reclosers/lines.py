"""The line to a recloser's relay: the way through its gateway opened, the relay awake, nobody else.

Whatever ends it, the line is given back and what the gateway's command started is ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import DeviceBusy, DeviceError, DeviceTimeout, ParameterError
from workspace_lib.reclosers.line_ports import AddressedPort, GatewayPort
from workspace_lib.reclosers.relay_errors import GatewayLocked, RelayAsleep
from workspace_lib.reclosers.relay_frames import FrameReader
from workspace_lib.reclosers.settings import SIMULATED, Fleet, Gateway, Recloser
from workspace_lib.store.engines import Store
from workspace_lib.transports.devices import Holder, open_exclusive
from workspace_lib.transports.helper_command import HelperCommand, fill_words
from workspace_lib.transports.ports import TUNNEL, Port, PortSettings, open_port
from workspace_lib.transports.serial_line import Limits, SerialLine
from workspace_lib.transports.transcript import Direction, Transcript

log = logging.getLogger("workspace_lib.reclosers.lines")

#: How long the gateway's own words are waited for; those that come later are heard too [s].
GREETING_S: Final = 0.1
#: Time between asking the gateway's command to end and ending it [s].
HELPER_GRACE_S: Final = 2.0
#: A silence within a session stays below this part of what the gateway allows.
_INACTIVITY_PART: Final = 0.8
#: How long a relay may take to show a prompt, and how often it is woken.
_PROMPT_S: Final = 3.0
_WAKES: Final = 3
_AGAIN_S: Final = 0.2
#: How long a line may still take to open after the gateway's command said that it is ready [s].
_SOON_S: Final = 1.0
_CAN: Final = b"\x18"
_CR: Final = b"\r"


@contextmanager
def relay_line(
    store: Store,
    holder: Holder,
    recloser: Recloser,
    fleet: Fleet,
    *,
    clock: Clock = SYSTEM_CLOCK,
    limits: Limits | None = None,
    prompt_s: float = _PROMPT_S,
    over: Callable[[], bool] = lambda: False,
) -> Iterator[SerialLine]:
    """Open the line to a recloser's relay, which nobody else uses meanwhile.

    The gateway's command, if it has one, is started first and ended last; the relay is woken if
    it sleeps; on a line of several relays it is the one that is spoken to.

    Parameters
    ----------
    holder : Holder
        Who opens it.
    recloser, fleet : Recloser, Fleet
        The relay, and its gateway.
    limits : Limits, optional
        Of the line; silences are kept below what the gateway allows.
    prompt_s : float
        How long a relay that may sleep is given to show a prompt [s].
    over : callable
        Asked while the line is being opened whether to give up: DeviceTimeout.

    Raises
    ------
    ParameterError
        If the recloser is listed without a line.
    DeviceBusy
        If somebody else holds the line.
    GatewayBusy
        If somebody else is at the relay, as the gateway says, also at the end where it said so
        only later.
    GatewayLocked
        If the gateway refuses, says that it is locked, or hangs up without a word.
    RelayAsleep
        If the relay does not wake up.
    HelperFailed
        If the gateway's command does not do what it should.
    DeviceError
        If the line cannot be opened.
    """
    if not recloser.remote or not recloser.url:
        raise ParameterError(
            f"{recloser.id} is listed as not reachable.", fix="Give it a url, and remote: true."
        )
    gateway = fleet.gateway_of(recloser)
    opening = _Opening(store, recloser, gateway, clock, limits or Limits(), prompt_s, over)
    with open_exclusive(store, recloser.line_id, holder, opening.open, clock=clock) as opened:
        yield opened.line
        opened.raise_what_the_gateway_said()


class _Opened:
    """An open line and the command that keeps it open."""

    def __init__(self, helper: HelperCommand | None) -> None:
        self._helper = helper
        self._closing = threading.Lock()
        self._gateway: GatewayPort | None = None
        self._line: SerialLine | None = None
        self._closed = False

    @property
    def line(self) -> SerialLine:
        """The line."""
        assert self._line is not None
        return self._line

    def take(self, line: SerialLine, gateway: GatewayPort | None) -> None:
        """Take charge of another line in place of the one there was."""
        with self._closing:
            old, self._line, self._gateway = self._line, line, gateway
            closed = self._closed
        if old is not None:
            old.close()
        if closed:
            line.close()

    def let_go(self) -> None:
        """Close the line, which is to be opened anew."""
        if self._line is not None:
            self._line.close()

    def raise_what_the_gateway_said(self) -> None:
        """Raise what was found out about the gateway amid the session."""
        if self._gateway is not None and self._gateway.error is not None:
            raise self._gateway.error

    def close(self) -> None:
        """Close the line, then end the command."""
        with self._closing:
            self._closed = True
            line = self._line
        try:
            if line is not None:
                line.close()
        finally:
            if self._helper is not None:
                self._helper.close()


class _Opening:
    """Opens the line of one recloser, under its lease."""

    def __init__(
        self,
        store: Store,
        recloser: Recloser,
        gateway: Gateway | None,
        clock: Clock,
        limits: Limits,
        prompt_s: float,
        over: Callable[[], bool],
    ) -> None:
        self._store = store
        self._recloser = recloser
        self._gateway = gateway
        self._clock = clock
        self._limits = limits
        if gateway is not None and gateway.inactivity_s is not None:
            longest = _INACTIVITY_PART * gateway.inactivity_s
            self._limits = replace(limits, byte_s=min(limits.byte_s, longest))
        self._prompt_s = prompt_s
        self._over = over

    def open(self) -> _Opened:
        url = self._recloser.url
        if url.startswith(SIMULATED):
            simulators.bring_secrets(self._store.outputs)
            url = simulators.url_of(self._store.outputs, url)
        helper = self._start_helper(url)
        opened = _Opened(helper)
        try:
            self._connect(opened, url, helper)
            if self._recloser.wake:
                self._wake(opened, url)
        except BaseException:
            opened.close()
            raise
        return opened

    def _start_helper(self, url: str) -> HelperCommand | None:
        gateway = self._gateway
        if gateway is None or not gateway.helper:
            return None
        host, _, port = url.rpartition("://")[2].rpartition(":")
        values = {
            "recloser": self._recloser.id,
            "host": gateway.host or host,
            "port": port if host else "",
        }
        helper = HelperCommand(
            fill_words(gateway.helper, values),
            mark=f"{self._store.outputs}|{self._recloser.line_id}",
            ready=gateway.ready,
            clock=self._clock,
            grace_s=HELPER_GRACE_S,
        )
        try:
            helper.wait_ready(gateway.ready_s, self._give_up)
        except BaseException:
            helper.close()
            raise
        return helper

    def _connect(self, opened: _Opened, url: str, helper: HelperCommand | None) -> None:
        """Open the line; where a command opens the way, as soon as there is one."""
        end = self._clock.monotonic()
        if helper is not None and self._gateway is not None:
            end += _SOON_S if self._gateway.ready else self._gateway.ready_s
        while True:
            try:
                line, gateway = self._open_line(url, self._recloser.port)
            except DeviceBusy:
                raise
            except DeviceError:
                if helper is None or self._clock.monotonic() >= end:
                    raise
                helper.check()
                self._give_up()
                self._clock.sleep(_AGAIN_S)
                continue
            opened.take(line, gateway)
            return

    def _open_line(self, url: str, settings: PortSettings) -> tuple[SerialLine, GatewayPort | None]:
        where = self._recloser.id
        tunnel = url.startswith(f"{TUNNEL}://")
        try:
            port: Port = open_port(url, settings, self._limits.connect_s)
        except DeviceError as error:
            if tunnel and isinstance(error.__cause__, ConnectionRefusedError):
                raise GatewayLocked(
                    "The gateway refuses the connection.",
                    where=f"{where} ({url})",
                    fix="Look whether it is up, and whether its pass-through is unlocked.",
                ) from error
            raise
        gateway = None
        if tunnel:
            of = self._gateway
            gateway = port = GatewayPort(
                port,
                where,
                busy_text=of.busy_text if of else "",
                locked_text=of.locked_text if of else "",
                inactivity_s=of.inactivity_s if of else None,
                clock=self._clock,
            )
            try:
                gateway.greet(GREETING_S if of else 0.0)
            except BaseException:
                port.close()
                raise
        transcript: list[Transcript] = []
        opened = self._clock.monotonic()

        def note(direction: Direction, data: bytes) -> None:
            transcript[0].add(self._clock.monotonic() - opened, direction, data)

        if self._recloser.address is not None:
            port = AddressedPort(port, self._recloser.address, note)
        line = SerialLine(
            port, self._limits, where=where, xon_xoff=settings.xon_xoff, clock=self._clock
        )
        transcript.append(line.transcript)
        return line, gateway

    def _wake(self, opened: _Opened, url: str) -> None:
        """See that the relay shows a prompt; one that does not gets the characters that wake it.

        Only one that is silent gets them: to one that is awake they would be a command.
        """
        recloser = self._recloser
        characters = recloser.wake.encode("ascii")
        if self._prompts(opened.line):
            return
        slow = replace(recloser.port, baud=recloser.wake_baud or recloser.baud)
        for _ in range(_WAKES):
            self._give_up()
            log.info("%s is silent and gets its wake-up characters.", recloser.id)
            if slow == recloser.port or url.startswith(f"{TUNNEL}://"):
                opened.line.write(characters)
            else:  # behind a gateway it is the gateway that knows speeds
                self._say_slowly(opened, url, slow, characters)
            if self._prompts(opened.line):
                return
        raise RelayAsleep(
            f"It shows no prompt after {_WAKES} times its wake-up characters.",
            where=recloser.id,
            fix="Compare wake and wake_baud with its settings CHWAKE and ABAUD; it may be off.",
        )

    def _say_slowly(self, opened: _Opened, url: str, slow: PortSettings, characters: bytes) -> None:
        """Send the characters at another speed, for which the port is opened anew."""
        opened.let_go()
        opened.take(*self._open_line(url, slow))
        opened.line.write(characters)
        # Until they have left: closing throws away what has not.
        self._quiet(opened.line, len(characters) * 10 / slow.baud + _AGAIN_S)
        opened.let_go()
        opened.take(*self._open_line(url, self._recloser.port))

    def _prompts(self, line: SerialLine) -> bool:
        """Return whether the relay shows a prompt, or asks for a password."""
        line.write(_CAN, at_once=True)
        line.write(_CR, at_once=True)
        frames = FrameReader()
        end = self._clock.monotonic() + self._prompt_s
        while (left := end - self._clock.monotonic()) > 0:
            try:
                frames.feed(line.read(byte_s=left))
            except DeviceTimeout:
                return False
            if frames.prompt or frames.bare_prompt() or frames.asks_password:
                return True
        return False

    def _give_up(self) -> None:
        if self._over():
            raise DeviceTimeout(
                "The line was not open yet when the time was over.", where=self._recloser.id
            )

    def _quiet(self, line: SerialLine, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            try:
                line.read(byte_s=left)
            except DeviceTimeout:
                return
