"""The style sheet and the script of all pages: tokens for light and dark, written once, here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from workspace_lib.views.html import Html

ASSETS = Path(__file__).parent / "assets"

LIGHT: Mapping[str, str] = {
    "bg": "#F6F7F9",
    "surface": "#FFFFFF",
    "sunken": "#EEF0F3",
    "text": "#14171C",
    "muted": "#555E6B",
    "line": "#E1E4E9",
    "strong": "#C3C8D0",
    "link": "#00609A",
    "good": "#166B3F",
    "attention": "#8F5400",
    "bad": "#B3261E",
    "stale": "#575F6B",
    "unknown": "#575F6B",
    "running": "#0A5E99",
    "waiting": "#575F6B",
    "skipped": "#575F6B",
    "missed": "#8F5400",
    "partial": "#8F5400",
    # Series of charts; marks, not text: 3:1 where it can be had.
    "s1": "#0072B2",
    "s2": "#E69F00",
    "s3": "#009E73",
    "s4": "#CC79A7",
    "s5": "#56B4E9",
    "s6": "#D55E00",
    "s7": "#C9B800",
    "s8": "#000000",
    # States of bits: neither good nor bad.
    "s9": "#6B7280",
}
DARK: Mapping[str, str] = {
    "bg": "#14171C",
    "surface": "#1C2027",
    "sunken": "#262B33",
    "text": "#E9EBEE",
    "muted": "#A3ABB7",
    "line": "#2D333C",
    "strong": "#454D58",
    "link": "#7CC0F0",
    "good": "#5CC98F",
    "attention": "#F2B14B",
    "bad": "#FF8A80",
    "stale": "#A3ABB7",
    "unknown": "#A3ABB7",
    "running": "#6CB8F0",
    "waiting": "#A3ABB7",
    "skipped": "#A3ABB7",
    "missed": "#F2B14B",
    "partial": "#F2B14B",
    "s1": "#3D9BD9",
    "s2": "#E69F00",
    "s3": "#1FB98A",
    "s4": "#DE9CC0",
    "s5": "#7CC6F2",
    "s6": "#F07B2E",
    "s7": "#F0E442",
    "s8": "#FFFFFF",
    "s9": "#98A1AE",
}


@cache
def css() -> str:
    """Return the whole style sheet; it fetches nothing and touches only what is under ``.ws``."""
    light, dark = _variables(LIGHT), _variables(DARK)
    forced_light = '[data-ws-theme="light"] .ws, [data-jp-theme-light="true"] .ws'
    forced_dark = '[data-ws-theme="dark"] .ws, [data-jp-theme-light="false"] .ws'
    return "\n".join(
        (
            f".ws {{ color-scheme: light; {light} }}",
            f"@media (prefers-color-scheme: dark) {{ .ws {{ color-scheme: dark; {dark} }} }}",
            f"{forced_light} {{ color-scheme: light; {light} }}",
            f"{forced_dark} {{ color-scheme: dark; {dark} }}",
            f"@media print {{ .ws, {forced_dark} {{ color-scheme: light; {light} }} }}",
            (ASSETS / "workspace.css").read_text(encoding="utf-8"),
        )
    )


@cache
def javascript() -> str:
    """Return the script of all pages: sorting, ages, interactive charts, spans; no library."""
    names = ("workspace.js", "range.js", "between.js")
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


def head() -> Html:
    """Return the style sheet and the script as elements, for a page that has neither yet."""
    return Html(f"<style>{css()}</style><script>{javascript()}</script>")


def _variables(tokens: Mapping[str, str]) -> str:
    return " ".join(f"--ws-{name}: {value};" for name, value in tokens.items())
