"""What a run over the fleet did: one line for each relay that was visited, totals, text and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from workspace_lib.clock import iso
from workspace_lib.errors import StoreError
from workspace_lib.files import atomic_write

RelayOutcome = Literal["done", "refused", "locked", "busy", "silent", "dropped", "damaged"]
#: What can become of a relay, in the order in which it is told.
OUTCOMES: Final = ("done", "damaged", "dropped", "silent", "busy", "locked", "refused")
_MOST_NAMES: Final = 5
_RIGHT: Final = frozenset(
    {"new", "known", "summaries", "damaged", "clock_error_s", "seconds", "bytes", "attempts"}
)


@dataclass(frozen=True)
class RelayLine:
    """What became of one relay.

    Attributes
    ----------
    new, known, summaries, damaged : int
        Events stored whole by this run; those that were stored before; those of which only the
        list knows; those that never came whole, or moved each time.
    clock_error_s : float or None
        By how much the relay's clock is fast [s]; None where it was not told.
    seconds : float
        Time its line was in use for it [s], all attempts.
    bytes : int
        What came over its line.
    attempts : int
        How often it was visited.
    why : str
        The reason where it is not done, and what else somebody should know of it.
    """

    recloser: str
    ced: str
    model: str = ""
    outcome: RelayOutcome = "done"
    new: int = 0
    known: int = 0
    summaries: int = 0
    damaged: int = 0
    clock_error_s: float | None = None
    seconds: float = 0.0
    bytes: int = 0
    attempts: int = 0
    why: str = ""


COLUMNS: Final = tuple(field.name for field in fields(RelayLine))


@dataclass(frozen=True)
class FleetReport:
    """What one run over the fleet did.

    Attributes
    ----------
    began : datetime
        When it began.
    took_s : float
        How long it took [s].
    relays : tuple of RelayLine
        Those that were visited, in the order of the list of reclosers.
    resting : tuple of str
        Those that failed lately and are left alone until their rest is over.
    left : tuple of str
        Those whose turn did not come before the run's time was over, or that were cut short by it.
    not_remote : int
        Those that are only listed.
    changed : tuple of (str, str)
        Relays that are another device than at the last visit, and what was said then and now.
    files_checked : int
        Stored files whose content was compared with their SHA-256.
    files_wrong : tuple of (str, str)
        Those that are missing or were changed, and which.
    """

    began: datetime
    took_s: float = 0.0
    relays: tuple[RelayLine, ...] = ()
    resting: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    not_remote: int = 0
    changed: tuple[tuple[str, str], ...] = ()
    files_checked: int = 0
    files_wrong: tuple[tuple[str, str], ...] = ()

    @property
    def outcomes(self) -> dict[str, int]:
        """How many relays ended in which way; only those that occur."""
        found = Counter(one.outcome for one in self.relays)
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}

    @property
    def complete(self) -> bool:
        """Whether every relay that can be reached was read to the end."""
        return not self.resting and not self.left and set(self.outcomes) <= {"done"}

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        kinds: dict[str, Sequence[str]] = {
            outcome: [one.recloser for one in self.relays if one.outcome == outcome]
            for outcome in OUTCOMES
            if outcome != "done"
        }
        kinds |= {
            "left for the next run": self.left,
            "resting after failures": self.resting,
            "another device than before": [recloser for recloser, _ in self.changed],
            "stored files missing or changed": [path for path, _ in self.files_wrong],
        }
        parts = [f"{kind}: {len(names)} ({_few(names)})" for kind, names in kinds.items() if names]
        return "; ".join(parts)

    @property
    def totals(self) -> dict[str, int | float]:
        """The sums over all relays."""
        return {
            "relays": len(self.relays),
            **{
                name: sum(getattr(one, name) for one in self.relays)
                for name in ("new", "known", "summaries", "damaged", "bytes", "attempts")
            },
            "seconds": round(sum(one.seconds for one in self.relays), 1),
        }

    def to_frame(self) -> Any:
        """Return one row for each relay, as a pandas frame."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.relays], columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        return {
            **asdict(self),
            "began": iso(self.began),
            "outcomes": self.outcomes,
            "totals": self.totals,
            "complete": self.complete,
            "trouble": self.trouble,
        }

    def to_text(self) -> str:
        """Return the report as people read it: one line for each relay, in columns, and totals."""
        rows = [COLUMNS, *(_shown(one) for one in self.relays)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
        lines = [f"Reclosers, run of {iso(self.began)}, {self.took_s:.0f} s", ""]
        for row in rows:
            cells = (
                cell.rjust(width) if name in _RIGHT else cell.ljust(width)
                for name, cell, width in zip(COLUMNS, row, widths, strict=True)
            )
            lines.append("  ".join(cells).rstrip())
        totals = self.totals
        said = ", ".join(f"{number} {outcome}" for outcome, number in self.outcomes.items())
        lines += [
            "",
            f"{totals['relays']} relays ({said or 'none'}): {totals['new']} events new, "
            f"{totals['known']} known, {totals['summaries']} only listed, "
            f"{totals['damaged']} damaged; {totals['bytes']} bytes.",
        ]
        if self.not_remote:
            lines.append(f"{self.not_remote} cannot be reached and are only listed.")
        if self.files_checked:
            lines.append(f"{self.files_checked} stored files checked.")
        lines += [f"{path}: {why}" for path, why in self.files_wrong]
        lines += [f"{recloser}: {what}" for recloser, what in self.changed]
        if self.trouble:
            lines.append(f"To look at: {self.trouble}.")
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Return one line for each relay, with commas, below the names of the columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for one in self.relays:
            writer.writerow("" if value is None else value for value in asdict(one).values())
        return text.getvalue()

    def save(self, folder: Path) -> list[Path]:
        """Write the report as text and as CSV into a folder, named by its time; return the paths.

        The CSV begins with a byte order mark, by which spreadsheets know its encoding.

        Raises
        ------
        StoreError
            If the folder cannot be made or written.
        """
        name = f"report_{self.began:%Y%m%dT%H%M%SZ}"
        paths = [folder / f"{name}.txt", folder / f"{name}.csv"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(paths[0], self.to_text().encode())
            atomic_write(paths[1], self.to_csv().encode("utf-8-sig"))
        except OSError as error:
            raise StoreError(
                f"The report cannot be kept ({error.strerror or error}).",
                where=str(folder),
                fix="Check its name, its space and its rights; events are kept all the same.",
            ) from error
        return paths


def _shown(one: RelayLine) -> tuple[str, ...]:
    values = asdict(one)
    clock = one.clock_error_s
    values["clock_error_s"] = "" if clock is None else f"{clock:+.3f}"
    values["seconds"] = f"{one.seconds:.1f}"
    return tuple(" ".join(str(value).split()) for value in values.values())


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
