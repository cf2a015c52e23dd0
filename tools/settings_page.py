"""Write the tables of docs/settings.md from the settings' classes: `make docs`.

A test compares the page with what this would write, so that the page cannot grow old.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
START = "<!-- settings: made by `make docs`, do not edit below -->"
END = "<!-- settings: end -->"


@dataclass(frozen=True)
class Table:
    """The settings of one class: where they stand, and their rows."""

    title: str
    prefix: str
    model: type[BaseModel]


def main() -> int:
    """Write the page anew; say whether it changed."""
    before = PAGE.read_text(encoding="utf-8")
    after = fill(before)
    PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is {'as it was' if after == before else 'changed'}")
    return 0


def fill(page: str) -> str:
    """Return the page with its tables made anew."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n\n{render()}\n{END}{tail}"


def render() -> str:
    """Return the tables of all settings as Markdown."""
    sections = []
    for table in tables():
        lines = [f"### {table.title}", "", summary(table.model), ""]
        lines += ["| Setting | Environment variable | Default | Meaning |", "|---|---|---|---|"]
        for name, field in table.model.model_fields.items():
            if is_section(field):
                continue
            setting = f"{table.prefix}{name}"
            cells = [f"`{setting}`", variable(setting), default(field), meaning(field)]
            lines.append("| " + " | ".join(cells) + " |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def tables() -> Iterator[Table]:
    """Yield every class of settings: the workspace's own, then those of the wings."""
    from workspace_lib import settings

    yield Table("The site", "", settings.Settings)
    for name, field in settings.Settings.model_fields.items():
        if is_section(field):
            inner = model_of(field)
            if inner is not None:
                yield Table(f"`{name}`", f"{name}.", inner)
    yield Table("`sources`", "sources.NAME.", settings.SourceSettings)
    for wing, module in wing_settings():
        yield from wing_tables(wing, module)


def wing_tables(wing: str, module: types.ModuleType) -> Iterator[Table]:
    """Yield the settings of a wing, then those that it groups under a name of their own."""
    classes = own_settings(module)
    grouped = {
        model_of(field): f"wings.{wing}.{name}"
        for cls in classes
        for name, field in cls.model_fields.items()
    }
    for cls in sorted(classes, key=lambda cls: cls in grouped):
        prefix = grouped.get(cls, f"wings.{wing}")
        yield Table(f"`{prefix}`", f"{prefix}.", cls)


def own_settings(module: types.ModuleType) -> list[type[BaseModel]]:
    """Return the classes of settings that a module defines itself."""
    return [
        cls
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and name.endswith("Settings")
    ]


def wing_settings() -> Iterator[tuple[str, types.ModuleType]]:
    """Yield each package of the library that has a module ``settings``."""
    import workspace_lib

    for package in pkgutil.iter_modules(workspace_lib.__path__):
        name = f"workspace_lib.{package.name}.settings"
        if package.ispkg and importlib.util.find_spec(name) is not None:
            yield package.name, importlib.import_module(name)


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the class of a setting that holds settings, or None."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def is_section(field: FieldInfo) -> bool:
    """Return whether a setting holds settings of its own, shown in a table of their own."""
    if model_of(field) is not None:
        return True
    inner = typing.get_args(field.annotation)
    return bool(inner) and isinstance(inner[-1], type) and issubclass(inner[-1], BaseModel)


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return f"`WORKSPACE_{setting.upper().replace('.', '__')}`"


def default(field: FieldInfo) -> str:
    """Return the default as YAML would have it, or what is demanded."""
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, Path()):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def meaning(field: FieldInfo) -> str:
    """Return what the setting means, with the values it may have."""
    text = (field.description or "").replace("|", "\\|")
    if typing.get_origin(field.annotation) is Literal:
        text += f" One of {', '.join(f'`{v}`' for v in typing.get_args(field.annotation))}."
    return text


def summary(model: type[BaseModel]) -> str:
    """Return the first line of a class's docstring."""
    return (model.__doc__ or "").strip().splitlines()[0]


def resolve(path: str) -> Any:
    """Return the field of a setting written as in the page, or None; NAME stands for any name."""
    from workspace_lib.settings import Settings

    for wing, module in wing_settings():
        prefix = f"wings.{wing}."
        if path.startswith(prefix):
            name = path.removeprefix(prefix).partition(".")[0]
            found = [cls.model_fields.get(name) for cls in own_settings(module)]
            return next(filter(None, found), None)
    model: Any = Settings
    field = None
    parts = path.split(".")
    while parts:
        field = model.model_fields.get(parts.pop(0)) if hasattr(model, "model_fields") else None
        if field is None:
            return None
        model = field.annotation
        inner = typing.get_args(model)
        if parts and inner and isinstance(inner[-1], type) and issubclass(inner[-1], BaseModel):
            parts.pop(0)
            model = inner[-1]
    return field


if __name__ == "__main__":
    sys.exit(main())
