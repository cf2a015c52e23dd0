"""One run over the fleet, to be killed: ``killed_fleet.py ROOT DAY``.

It says ``began`` once relays are called. Exit code 0: every relay was read; 3: not every one. DAY
counts runs, so that no relay rests from the one before.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from workspace_lib.reclosers.fleet import FleetManners, capture_fleet
from workspace_lib.reclosers.relay import Manners
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.devices import Holder
from workspace_lib.transports.serial_line import Limits

MANNERS = FleetManners(
    relay=Manners(probe_s=1.0, settle_s=0.03, tries=2),
    limits=Limits(byte_s=2.0),
    least_s=0.0,
    leave_s=0.0,
    again_s=0.1,
)


def main(root: str, day: int) -> int:
    settings = load_settings("testsite", root=root)
    with open_store(settings) as store:
        sys.stdout.write("began\n")
        sys.stdout.flush()
        report = capture_fleet(
            store,
            settings,
            # The same as the killed one, whose leases are still there.
            holder=Holder("soak"),
            full=True,
            now=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=2 * day),
            manners=MANNERS,
        )
    sys.stdout.write(report.to_text())
    return 0 if report.complete and not report.files_wrong else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
