"""The whole examination: every check of the machine and of the active site."""

from __future__ import annotations

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.doctor import cluster, machine, site
from workspace_lib.doctor.findings import Finding
from workspace_lib.settings import Settings


def examine(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> list[Finding]:
    """Return every finding about this machine and the active site; changes nothing."""
    return [
        *machine.check_python(),
        *machine.check_packages(settings.root / machine.LOCK),
        *machine.check_disk(settings.outputs_dir),
        *machine.check_clock(),
        *site.check_store(settings, clock),
        *cluster.check_cluster(settings),
        *site.check_jobs(settings),
        *site.check_ports(settings),
        *site.check_variables(),
        *site.check_secrets(settings),
        *site.check_wings(settings),
        *site.check_sources(settings),
        *site.check_brokers(settings),
        *machine.check_serial_ports(),
        *machine.check_programs(),
    ]
