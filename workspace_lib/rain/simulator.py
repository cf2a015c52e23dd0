"""A simulated network of rain gauges: loggers that deliver A0 files to an FTP server.

It starts with some days of files and, while it runs, the loggers go on writing.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc, to_us
from workspace_lib.errors import ConfigError, WorkspaceError
from workspace_lib.rain.loggers import FAULTS, FILE_MIN, LoggerFile, Loggers, SimulatedGauge
from workspace_lib.rain.settings import load_network, load_rain
from workspace_lib.settings import Settings, load_settings
from workspace_lib.transports.file_source import clean_path
from workspace_lib.transports.memory_ftp import MemoryFtp, MemoryTree

__all__ = ["FAULTS", "DeliveredTruth", "GaugeTruth", "RainSimulator", "SimulatedGauge", "main"]

NAME: Final = "rain"
SECRET: Final = "DEMO_FTP_PASSWORD"
HISTORY_DAYS: Final = 10
#: What is older than this when the simulator starts was copied from the base folder before [d].
COPIED_BEFORE_DAYS: Final = 1.0


@dataclass(frozen=True)
class GaugeTruth:
    """What one gauge counted: stamps [s since 1970 UTC], sorted, and tips of each."""

    stamps: NDArray[np.int64]
    tips: NDArray[np.int64]


@dataclass(frozen=True)
class DeliveredTruth:
    """What a faultless reader finds in all files delivered so far."""

    gauges: dict[str, GaugeTruth]
    files: int
    conflicts: int
    set_aside: int
    bad_lines: int
    refused: tuple[str, ...]


@dataclass
class _Account:
    """What was delivered, counted while it is."""

    rows: dict[str, dict[int, int]]
    files: int = 0
    conflicts: int = 0
    set_aside: int = 0
    bad_lines: int = 0
    refused: list[str] = field(default_factory=list)

    def add(self, gauge: str, file: LoggerFile) -> None:
        self.rows[gauge].update(file.rows)
        self.files += 1
        self.conflicts += file.conflicts
        self.set_aside += file.set_aside
        self.bad_lines += file.bad_lines
        if file.refused:
            self.refused.append(file.path)


class RainSimulator:
    """Loggers and the FTP server they deliver to.

    Parameters
    ----------
    gauges : sequence of SimulatedGauge
        The network.
    start : datetime
        From when on there are files.
    days : float
        How many days of files there are before it is started [d].
    seed : int
        Another seed gives other weather and other faults.
    faults : sequence of str
        What may go wrong, of `FAULTS`; empty: nothing.
    user : str
        Log-in name of the server.
    copied_before_days : float
        Files of gauges with a ``base`` lie there only if they are younger than this when it starts
        [d]; older ones were copied into their folder long ago.
    """

    def __init__(
        self,
        gauges: Sequence[SimulatedGauge],
        start: datetime,
        days: float,
        *,
        seed: int = 1,
        faults: Sequence[str] = tuple(FAULTS),
        user: str = "gauges",
        copied_before_days: float = COPIED_BEFORE_DAYS,
    ) -> None:
        self._loggers = Loggers(gauges, seed, faults)
        self._begin = ensure_utc(start)
        self._end = self._begin + timedelta(days=days)
        self._user = user
        self._copied_until_s = (self._end - timedelta(days=copied_before_days)).timestamp()
        self.tree = MemoryTree()
        self._account = _Account({gauge.id: {} for gauge in gauges})
        self._next_slot = self._slot(self._begin) + 1  # the first slot lies partly before
        self._server: MemoryFtp | None = None
        self._writer: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def start(self, port: int = 0, speed: float = 1.0, host: str = "127.0.0.1") -> dict[str, Any]:
        """Write the files of the past, serve them, and go on writing.

        Parameters
        ----------
        port : int
            Port to listen on; 0 takes a free one.
        speed : float
            How fast the loggers' clocks run after the start; 0: they stand still.
        host : str
            Address to listen on.

        Returns
        -------
        dict
            ``host``, ``port``, ``user`` and ``password``.
        """
        if self._server is not None:
            raise ConfigError("The rain simulator runs already.", fix="Call stop() first.")
        self.advance_to(self._end)
        self._server = MemoryFtp(self._user, self.tree)
        endpoint = self._server.start(port, host)
        self._stopping.clear()
        if speed > 0:
            self._writer = threading.Thread(
                target=self._write_on, args=(speed,), name="rain-loggers", daemon=True
            )
            self._writer.start()
        return endpoint

    def advance_to(self, moment: datetime) -> int:
        """Let the loggers deliver every file that is complete at ``moment``; returns how many."""
        last = self._slot(moment)
        with self._lock:
            first, self._next_slot = self._next_slot, max(self._next_slot, last)
            delivered = 0
            for number, gauge in enumerate(self._loggers.gauges):
                self.tree.make_folders(gauge.folder)
                for file in self._loggers.files(number, first, last):
                    self.tree.put(self._place(gauge, file), file.content, file.complete_s)
                    self._account.add(gauge.id, file)
                    delivered += 1
        return delivered

    def truth(self) -> DeliveredTruth:
        """Return what a faultless reader must find in the files delivered so far."""
        with self._lock:
            account = self._account
            gauges = {}
            for gauge, rows in account.rows.items():
                stamps = np.array(sorted(rows), dtype=np.int64)
                tips = np.array([rows[stamp] for stamp in stamps.tolist()], dtype=np.int64)
                gauges[gauge] = GaugeTruth(stamps, tips)
            return DeliveredTruth(
                gauges,
                account.files,
                account.conflicts,
                account.set_aside,
                account.bad_lines,
                tuple(account.refused),
            )

    def stop(self) -> None:
        """Stop writing and serving."""
        self._stopping.set()
        if self._writer is not None:
            self._writer.join(timeout=30)
            self._writer = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _place(self, gauge: SimulatedGauge, file: LoggerFile) -> str:
        """Return where a gauge puts a file: into its folder, or where it is to be copied from."""
        if gauge.base is None or file.complete_s < self._copied_until_s:
            return file.path
        return f"{gauge.base}/{file.path.rpartition('/')[2]}"

    def _slot(self, moment: datetime) -> int:
        return self._loggers.slot_at(to_us(moment) // 60_000_000)

    def _write_on(self, speed: float) -> None:
        began = time.monotonic()
        pause = max(0.05, min(5.0, FILE_MIN * 60 / speed / 4))
        while not self._stopping.wait(pause):
            elapsed = (time.monotonic() - began) * speed
            self.advance_to(self._end + timedelta(seconds=elapsed))


def simulator_of(settings: Settings, *, days: float = HISTORY_DAYS, seed: int = 1) -> RainSimulator:
    """Return a simulator of the site's own gauges, with files up to now."""
    rain = load_rain(settings)
    source = settings.source(rain.source)
    base = settings.source(rain.copy_from).folder if rain.copy_from else ""
    gauges = [
        SimulatedGauge(
            gauge.id,
            clean_path(f"{source.folder}/{gauge.folder}"),
            gauge.name,
            f"LOG{number:03d}",
            clean_path(f"{base}/{gauge.base_folder or gauge.folder}")
            if gauge.delivery == "copied" and base
            else None,
        )
        for number, gauge in enumerate(load_network(settings).gauges, start=1)
    ]
    start = SYSTEM_CLOCK.now() - timedelta(days=days)
    return RainSimulator(gauges, start, days, seed=seed, user=source.user)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator of a site until it is told to stop (SIGTERM, SIGINT)."""
    parser = argparse.ArgumentParser(
        prog="python -m workspace_lib.rain.simulator", description=main.__doc__
    )
    parser.add_argument("--site", help="name of a site under parameters/, or a path")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0: a free one")
    parser.add_argument("--speed", type=float, default=1.0, help="speed of the loggers' clocks")
    parser.add_argument("--days", type=float, default=HISTORY_DAYS, help="days of history [d]")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other weather")
    arguments = parser.parse_args(argv)
    settings = load_settings(arguments.site)

    def make() -> tuple[RainSimulator, dict[str, Any]]:
        simulator = simulator_of(settings, days=arguments.days, seed=arguments.seed)
        return simulator, simulator.start(arguments.port, arguments.speed, arguments.host)

    def says(endpoint: dict[str, Any]) -> str:
        return f"rain simulator: ftp://{endpoint['host']}:{endpoint['port']}"

    simulators.run(settings, NAME, make, secret=SECRET, says=says)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkspaceError as error:
        sys.exit(f"rain simulator: {error}")
