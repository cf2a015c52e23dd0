"""Text can be read in light and dark, and nothing of a page comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from workspace_lib.views import icons, theme, tokens

THEMES = {"light": theme.LIGHT, "dark": theme.DARK}
TEXTS = ("text", "muted", "link", *tokens.STATES)
#: The share of its colour in a badge's and a notice's ground.
TINTS = (0.09, 0.06)


def channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def mixed(colour: str, ground: str, share: float) -> list[float]:
    pairs = zip(channels(colour), channels(ground), strict=True)
    return [share * a + (1 - share) * b for a, b in pairs]


def luminance(parts: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: list[float], second: list[float]) -> float:
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ground", ["bg", "surface", "sunken"])
def test_text_has_enough_contrast(colours: Mapping[str, str], name: str, ground: str) -> None:
    assert contrast(channels(colours[name]), channels(colours[ground])) >= 4.5


@pytest.mark.parametrize("colours", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize("state", tokens.STATES)
def test_badges_and_notices_have_enough_contrast(colours: Mapping[str, str], state: str) -> None:
    for share in TINTS:
        ground = mixed(colours[state], colours["surface"], share)
        assert contrast(channels(colours[state]), ground) >= 4.5


@pytest.mark.parametrize("colours", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize("series", ["s1", "s3", "s6"])
def test_the_first_series_can_be_told_from_the_ground(
    colours: Mapping[str, str], series: str
) -> None:
    assert contrast(channels(colours[series]), channels(colours["surface"])) >= 3.0


def test_light_and_dark_have_the_same_tokens() -> None:
    assert set(theme.LIGHT) == set(theme.DARK)


def test_every_token_the_sheet_uses_is_set() -> None:
    used = set(re.findall(r"var\(--ws-([\w-]+)", theme.css()))
    assert used - set(theme.LIGHT) <= {"c", "share", "fit"}


def test_every_state_has_its_colour_and_its_icon() -> None:
    for state in tokens.STATES.values():
        assert f".ws-{state.name} {{" in theme.css()
        assert state.icon in icons.names()


def test_icons_of_states_differ_so_that_colour_is_not_needed() -> None:
    used = [state.icon for state in tokens.STATES.values()]
    assert len(used) == len(set(used))


def test_nothing_is_fetched_from_elsewhere(repository: Path) -> None:
    folder = repository / "workspace_lib" / "views"
    sources = {
        path: path.read_text()
        for path in folder.rglob("*.*")
        if path.suffix != ".pyc" and path.parent.name != "vendor"
    }
    harmless = ("http://www.w3.org/", "http://127.0.0.1", "http://[", "http://{")
    foreign = [
        (path.name, found)
        for path, text in sources.items()
        for found in re.findall(r"(?:https?:)?//[\w\[{.]+[\w./-]*", text)
        if found.startswith(("http", "//cdn")) and not found.startswith(harmless)
    ]
    assert foreign == []
    assert "@import" not in theme.css()
    assert "url(" not in theme.css().replace("url(#", "")


def test_worst_state_comes_first() -> None:
    assert tokens.worst(["good", "stale", "attention"]) == "stale"
    assert tokens.worst(["good", "bad"]) == "bad"
    assert tokens.worst([]) == "unknown"
