"""What an import of files did, or would do: a line for each event or file, and a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Became = Literal["taken", "listed", "known", "damaged", "unclear"]
_MOST_LINES: Final = 200
_SAYS: Final[Mapping[Became, str]] = {
    "taken": "{} events taken in.",
    "listed": "{} events known by lists only.",
    "known": "{} events were kept already.",
    "damaged": "{} damaged, kept in quarantine:",
    "unclear": "{} not taken in:",
}


@dataclass(frozen=True)
class ImportLine:
    """What became of one event or file; ``path`` is below the folder."""

    became: Became
    path: str
    recloser: str = ""
    event: str = ""
    why: str = ""

    def text(self) -> str:
        """Return the line as people read it."""
        event = " ".join(one for one in (self.recloser, self.event) if one)
        return ": ".join(one for one in (self.path, event, self.why) if one)


@dataclass
class ImportReport:
    """What an import did, or would do; ``ignored`` counts files that belong to no event."""

    lines: list[ImportLine] = field(default_factory=list)
    ignored: int = 0
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing was damaged or left out."""
        return not (self.count("damaged") or self.count("unclear"))

    def count(self, became: Became) -> int:
        """Return how many events or files ended so."""
        return sum(line.became == became for line in self.lines)

    def of(self, became: Became) -> list[ImportLine]:
        """Return the lines that ended so."""
        return [line for line in self.lines if line.became == became]

    def text(self) -> str:
        """Return the report as people read it: counts, and each file somebody should look at."""
        parts = ["Nothing was changed; an import would do this:"] if self.dry_run else []
        for became, said in _SAYS.items():
            lines = self.of(became)
            if lines or became in ("taken", "known"):
                parts.append(said.format(len(lines)))
            if became in ("damaged", "unclear"):
                parts += [f"  {line.text()}" for line in lines[:_MOST_LINES]]
                if more := lines[_MOST_LINES:]:
                    parts.append(f"  and {len(more)} more")
        if self.ignored:
            parts.append(f"{self.ignored} files belong to no event.")
        return "\n".join(parts)
