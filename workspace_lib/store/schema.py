"""All tables of both databases: imports the modules that define them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil


def load_tables() -> None:
    """Import every module that defines tables: ``store.*``, and ``tables`` of runs and wings.

    The names are found, not imported above: the store knows no wing.
    """
    import workspace_lib
    import workspace_lib.store

    for module in pkgutil.iter_modules(workspace_lib.store.__path__, "workspace_lib.store."):
        if not module.ispkg:
            importlib.import_module(module.name)
    for package in pkgutil.iter_modules(workspace_lib.__path__, "workspace_lib."):
        if package.name == "workspace_lib.views":  # its tables are those of a page
            continue
        name = f"{package.name}.tables"
        if package.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
