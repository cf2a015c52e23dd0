"""Who may see the live dashboards, where, and what their kernels are given to know."""

from __future__ import annotations

import json
import os
import secrets as random_secrets
from collections.abc import Mapping
from pathlib import Path

import psutil

from workspace_lib import secrets
from workspace_lib.settings import Settings

#: Where Jupyter finds our template.
TEMPLATE_ROOT = Path(__file__).parent / "voila_template"
#: A server that listens there is reached by every name of its machine.
EVERYWHERE = ("", "0.0.0.0", "::")
_KEPT = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP",
    "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH",
    "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "JUPYTER_PATH",
    "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "IPYTHONDIR",
    "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE",
    "PROGRAMDATA", "NUMBER_OF_PROCESSORS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
}  # fmt: skip


def kernel_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a dashboard's kernel: no secret but the store's own password.

    What is not known to be harmless is left out, because anybody may name a secret anything.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() in _KEPT or name.startswith("LC_") or name.startswith("WORKSPACE_")
    }
    if settings.store.url:
        for reference in secrets.references(settings.store.url):
            name = reference.removeprefix(secrets.PREFIX)
            kept |= {key: environ[key] for key in (name, f"{name}_FILE") if key in environ}
    kept |= {
        "WORKSPACE_SITE": str(settings.site_dir),
        "WORKSPACE_ROOT": str(settings.root),
        "WORKSPACE_DASHBOARD": "1",
    }
    # One thread per kernel is enough for a page and keeps many viewers apart.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        kept.setdefault(name, "1")
    template = str(TEMPLATE_ROOT)
    if template not in kept.get("JUPYTER_PATH", "").split(os.pathsep):
        kept["JUPYTER_PATH"] = os.pathsep.join(p for p in (template, kept.get("JUPYTER_PATH")) if p)
    return kept


def make_token(settings: Settings) -> tuple[str, bool]:
    """Return the token of the dashboards and whether it was made up for this start."""
    if settings.dashboards.token:
        return secrets.resolve(settings.dashboards.token), False
    return random_secrets.token_urlsafe(24), True


def announcement(settings: Settings) -> Path:
    """Return the file in which the server of the dashboards says where it listens."""
    return settings.outputs_dir / "dashboards" / "server.json"


def live_address(settings: Settings, seen_as: str | None = None) -> str | None:
    """Return where the live dashboards are, without their token, or None if they do not run.

    Parameters
    ----------
    seen_as : str, optional
        The name by which the reader reaches this machine; it is used where they listen everywhere.
    """
    try:
        said = json.loads(announcement(settings).read_text(encoding="utf-8"))
        host, port, pid = str(said["host"]), int(said["port"]), int(said["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not psutil.pid_exists(pid):
        return None
    return address(seen_as if host in EVERYWHERE and seen_as else host, port)


def address(host: str, port: int) -> str:
    """Return the address people open; a server on all interfaces is shown on this machine."""
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
