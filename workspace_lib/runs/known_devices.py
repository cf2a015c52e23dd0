"""Which devices and shared sources a site has, so that a job cannot hold a misspelt one."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

from workspace_lib.settings import Settings


def known_devices(settings: Settings) -> set[str]:
    """Return the ids of everything that jobs of the site may hold.

    These are the devices in ``site.yml``, each of its sources as ``ftp:NAME`` (whatever its
    protocol), and what the wings' fleets hold: a wing's module ``devices`` may offer
    ``device_ids(settings)``.
    """
    import workspace_lib

    ids = set(settings.devices)
    ids.update(f"ftp:{name}" for name in settings.sources)
    ids.update(f"{source.kind}:{name}" for name, source in settings.sources.items())
    for package in pkgutil.iter_modules(workspace_lib.__path__, "workspace_lib."):
        name = f"{package.name}.devices"
        if package.ispkg and importlib.util.find_spec(name) is not None:
            device_ids = getattr(importlib.import_module(name), "device_ids", None)
            if device_ids is not None:
                ids.update(device_ids(settings))
    return ids
