"""Icons drawn for this package, as inline SVG in the colour of the text; nothing is fetched."""

from __future__ import annotations

import html as _html

from workspace_lib.views.html import Html

# Drawn on a grid of 16 by 16, lines of 1.75.
_PATHS = {
    "check": '<path d="M3 8.5 6.5 12 13 4.5"/>',
    "alert": '<path d="M8 2.5 14.5 13.5h-13z"/><path d="M8 6.5v3.2M8 11.6v.1"/>',
    "cross": '<path d="M4 4l8 8M12 4l-8 8"/>',
    "clock": '<circle cx="8" cy="8" r="5.8"/><path d="M8 4.8V8l2.3 1.6"/>',
    "question": '<path d="M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.8M8 12.4v.1"/>',
    "running": '<path d="M13.6 8A5.6 5.6 0 1 1 8 2.4"/><path d="M8 .9 10 2.4 8 4.2"/>',
    "waiting": '<path d="M4.5 2.5h7M4.5 13.5h7M5.5 2.5c0 3 5 4 5 5.5s-5 2.5-5 5.5"/>'
    '<path d="M10.5 2.5c0 3-5 4-5 5.5s5 2.5 5 5.5"/>',
    "skip": '<path d="M3.5 8h9"/>',
    "missed": '<circle cx="8" cy="8" r="5.8"/><path d="M4 12 12 4"/>',
    "half": '<circle cx="8" cy="8" r="5.8"/><path d="M8 2.2a5.8 5.8 0 0 1 0 11.6z" '
    'fill="currentColor" stroke="none"/>',
    "empty": '<path d="M2.5 9.5 4.5 3h7l2 6.5v3.5h-11z"/><path d="M2.5 9.5h3.3l.8 '
    '1.5h2.8l.8-1.5h3.3"/>',
    "info": '<circle cx="8" cy="8" r="5.8"/><path d="M8 7.3v3.5M8 5.2v.1"/>',
    "sort": '<path d="M5 6.5 8 3.5l3 3M5 9.5l3 3 3-3"/>',
    "chevron": '<path d="M6 3.5 10.5 8 6 12.5"/>',
    "link": '<path d="M9.5 2.5h4v4M13.5 2.5 7.5 8.5M11.5 9v4.5h-9v-9H7"/>',
    "download": '<path d="M8 2.5v7.5M4.5 7 8 10.5 11.5 7M3 13.5h10"/>',
    "board": '<path d="M2.5 2.5h4.5v6h-4.5zM9 2.5h4.5v3.5H9zM9 8h4.5v5.5H9zM2.5 '
    '10.5h4.5v3h-4.5z"/>',
    "drop": '<path d="M8 2c2.6 3.4 4.2 5.4 4.2 7.7a4.2 4.2 0 0 1-8.4 0C3.8 7.4 5.4 5.4 8 2z"/>',
    "calendar": '<path d="M2.5 4h11v9.5h-11zM2.5 7h11M5.5 2.5V5M10.5 2.5V5"/>',
    "zoom": '<circle cx="7" cy="7" r="4.3"/><path d="M10.2 10.2 13.8 13.8"/>',
}


def icon(name: str, label: str | None = None) -> Html:
    """Return an icon; with ``label`` screen readers say it, without it is decoration beside a word.

    Raises
    ------
    KeyError
        If there is no icon of that name.
    """
    paths = _PATHS[name]
    said = (
        f'role="img" aria-label="{_html.escape(label, quote=True)}"'
        if label
        else 'aria-hidden="true"'
    )
    return Html(
        f'<svg class="ws-icon" viewBox="0 0 16 16" {said} fill="none" stroke="currentColor" '
        f'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">{paths}</svg>'
    )


def names() -> tuple[str, ...]:
    """Return the names of all icons."""
    return tuple(_PATHS)
