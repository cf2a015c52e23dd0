"""The tree of reasons that people give to stops: data of the site, checked when it is read."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from workspace_lib.errors import ConfigError
from workspace_lib.machining.pauses import Loss

#: What a stop has that nobody has given a reason.
UNQUALIFIED: Final = ""

_LOSSES: Final = {
    "": None,
    "NO_LOSS": Loss.NONE,
    "UNPLANNED_DOWNTIME": Loss.OWN,
    "OWN": Loss.OWN,
    "INDUCED": Loss.INDUCED,
    "SETUP": Loss.SETUP,
    "MINOR_STOPPAGES": Loss.MINOR,
    "PLANNED_DOWNTIME": Loss.PLANNED,
}
#: Losses of pieces, not of time: such reasons are no reasons of stops.
_OF_PIECES: Final = frozenset({"REJECT_REWORK", "STARTUP_YIELD"})


@dataclass(frozen=True)
class Reason:
    """A reason: ``code``, what people read, the reason above it, and what its time is lost to.

    Without a ``loss`` it is a heading, which no stop can have.
    """

    code: str
    text: str
    parent: str = ""
    loss: Loss | None = None


class ReasonTree:
    """Reasons by code.

    Raises
    ------
    ConfigError
        If a code is empty or there twice, a parent is missing, or reasons stand in a circle.
    """

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self._reasons: dict[str, Reason] = {}
        for reason in reasons:
            if reason.code == UNQUALIFIED or reason.code in self._reasons:
                raise ConfigError(
                    f"The reason {reason.code!r} is there twice."
                    if reason.code
                    else "A reason has no code.",
                    where=f"reason {reason.text!r}",
                    fix="Give each reason a code of its own.",
                )
            self._reasons[reason.code] = reason
        for code in self._reasons:
            self.path(code)

    def __contains__(self, code: object) -> bool:
        return code in self._reasons

    def __getitem__(self, code: str) -> Reason:
        return self._reasons[code]

    def __len__(self) -> int:
        return len(self._reasons)

    def path(self, code: str) -> tuple[Reason, ...]:
        """Return the reasons from the top down to one."""
        found: list[Reason] = []
        while code:
            reason = self._reasons.get(code)
            if reason is None:
                raise ConfigError(
                    f"There is no reason {code!r}.",
                    where=f"reason {found[-1].code!r}" if found else None,
                    fix="Name as parent a reason that is in the tree.",
                )
            if reason in found:
                raise ConfigError(f"The reasons above {code!r} stand in a circle.")
            found.append(reason)
            code = reason.parent
        return tuple(reversed(found))

    def category(self, code: str) -> str:
        """Return the text of the topmost reason above one: the first level of the Pareto."""
        return self.path(code)[0].text

    def usable(self) -> tuple[Reason, ...]:
        """Return the reasons that a stop can have, in their order."""
        return tuple(reason for reason in self._reasons.values() if reason.loss is not None)


def read_reasons(text: str, *, where: str = "reasons") -> ReasonTree:
    """Return the tree of a list with columns code, text, class of loss and, if any, parent.

    This is how OEE Designer of Point85 exports reasons. Those of rejected pieces are left out.

    Raises
    ------
    ConfigError
        If a row has too few or too many columns, or a class of loss is not known.
    """
    reasons = []
    dropped: set[str] = set()
    for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
        if not any(field.strip() for field in row):
            continue
        if len(row) not in (3, 4):
            raise ConfigError(
                f"A reason has 3 or 4 columns, not {len(row)}.", where=f"{where}:{number}"
            )
        code, name, loss, parent = (" ".join(field.split()) for field in [*row, ""][:4])
        if loss in _OF_PIECES:
            dropped.add(parent)
            continue
        if loss not in _LOSSES:
            raise ConfigError(
                f"The class of loss {loss!r} is not known.",
                where=f"{where}:{number}",
                fix=f"Use one of {', '.join(name for name in _LOSSES if name)}.",
            )
        reasons.append(Reason(code, name, parent, _LOSSES[loss]))
    parents = {reason.parent for reason in reasons}
    return ReasonTree(one for one in reasons if one.code not in dropped or one.code in parents)
