"""Draw docs/images/event.png, a simulated event as the README shows it: `make pictures`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.plots import event_figure, png_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "event.png"


def main() -> int:
    """Draw the picture anew; say where it is."""
    PICTURE.write_bytes(picture())
    print(PICTURE)
    return 0


def picture() -> bytes:
    """Return the last shot of a simulated permanent fault of phase C to ground, as PNG."""
    event = SimulatedEvent(
        "651R",
        datetime(2026, 3, 1, 7, 50, 0, 249_000),
        "CG",
        shot=3,
        distance=0.47,
        load_a=180.0,
        angle_deg=40.0,
        lockout=True,
    )
    record = parse_cev(event.cev_of("S128 R")).data
    return png_of(event_figure(record, name="LAV-102"), dpi=90)


if __name__ == "__main__":
    sys.exit(main())
