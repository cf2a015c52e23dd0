"""A new site: a folder with commented settings and one job, for somebody to make their own."""

from __future__ import annotations

import re
from pathlib import Path

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.files import atomic_write
from workspace_lib.settings import SITE_FILE

SITE_YML = """\
# Settings of this site; docs/settings.md lists them all. Environment variables such as
# WORKSPACE_RUNS__MAX_PARALLEL=4 come before what stands here.
title: {title}
timezone: {timezone}
language: en

# A production site refuses simulators and the demo's secrets.
production: true

# Where files come from. A password is named, never written: set the environment variable
# PLANT_FTP_PASSWORD, or PLANT_FTP_PASSWORD_FILE to a file that holds it.
# sources:
#   plant:
#     kind: ftp
#     host: ftp.example.com
#     user: reader
#     password: secret://PLANT_FTP_PASSWORD
#     folder: /

# Devices and lines that jobs may hold, and where they are.
# devices:
#   line:COM1: /dev/ttyS0

# Who is told of failures, recoveries and stale data: addresses as apprise takes them.
# notify:
#   addresses:
#     - "mailto://reports:{{secret://MAIL_PASSWORD}}@example.com"

# PostgreSQL in place of two SQLite files.
# store:
#   url: "postgresql://workspace:{{secret://POSTGRES_PASSWORD}}@db.example.com/workspace"
"""

JOB_YML = """\
# yaml-language-server: $schema={schema}
# A job: a notebook of notebooks/jobs and when it runs. docs/jobs.md explains every key; check with
#   workspace --site {site} jobs check
description: What this job is for, in one line
notebook: {notebook}
schedule: "*/15 * * * *"      # or `every: 5m`, or `on: another_job`
# timezone: Europe/Paris      # the site's, if not given
catch_up: latest              # after an outage: skip | latest | each
timeout: 10m
retries: {{attempts: 3, wait: 30s}}
# capacity: {{ftp:plant: 2}}    # at most two runs use the source at once
# publishes: [rain.sums]      # without them the run is no success
# fresh_for: 1h               # older is stale
enabled: false                # true when the site is ready
"""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def new_site(root: Path, name: str, *, timezone: str = "Europe/Paris") -> list[Path]:
    """Make the folder of a site with its settings and one job that rests; returns the files.

    Parameters
    ----------
    name : str
        A name for a folder under ``parameters/``, or a path to a folder anywhere.

    Raises
    ------
    ConfigError
        If there is something at that place already.
    ParameterError
        If the name is no name for a folder.
    """
    path = Path(name)
    folder = root / "parameters" / name if len(path.parts) == 1 else path.absolute()
    if not _NAME.fullmatch(folder.name):
        raise ParameterError(
            f"{folder.name!r} is no name for a site.",
            fix="Take letters, digits, hyphens and underscores, a letter first.",
        )
    if folder.exists():
        raise ConfigError(
            "There is something already.", where=str(folder), fix="Take another name."
        )
    schema = root / "parameters" / "job.schema.json"
    inside = folder.parent == root / "parameters"
    notebook = _some_notebook(root)
    files = {
        SITE_FILE: SITE_YML.format(title=folder.name, timezone=timezone),
        f"jobs/{notebook}.yml": JOB_YML.format(
            schema="../../job.schema.json" if inside else schema.as_posix(),
            site=name,
            notebook=notebook,
        ),
    }
    made = []
    for relative, content in files.items():
        target = folder / relative
        atomic_write(target, content.encode())
        made.append(target)
    return made


def _some_notebook(root: Path) -> str:
    names = sorted(path.stem for path in (root / "notebooks" / "jobs").glob("*.ipynb"))
    return "rain_sums" if "rain_sums" in names or not names else names[0]
