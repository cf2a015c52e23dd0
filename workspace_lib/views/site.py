"""What all pages of a site share, live or static: its name, its dashboards, the bar, the frame."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace_lib.views import theme
from workspace_lib.views.html import Html, tag
from workspace_lib.views.icons import icon
from workspace_lib.views.texts import Texts

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%230072B2'/%3E%3Cpath d='M3.5 11V8M6.5 11V5"
    "M9.5 11V7M12.5 11V4' stroke='white' stroke-width='1.75'/%3E%3C/svg%3E"
)
#: Each language in its own words, so that whoever needs it can read it.
LANGUAGE_NAMES: dict[str, str] = {"en": "English", "fr": "Français"}
#: Where a browser keeps the language its reader chose, on every server of a host.
LANGUAGE_COOKIE = "workspace_language"
#: For how long [s].
LANGUAGE_KEPT_S = 365 * 86_400
_NAME = re.compile(r"[A-Za-z][\w-]*")


@dataclass(frozen=True)
class Site:
    """What the pages say about the site: its name, language and dashboards."""

    title: str
    texts: Texts
    folder: Path
    plotly: str
    #: Where a dashboard lies: its name follows.
    prefix: str = "/"
    #: Where the live dashboard lies, its name follows; None where the pages are live themselves.
    live: str | None = None
    #: Where the reader chooses a language, its code follows; None where there is only this one.
    languages: str | None = None

    def has(self, name: str) -> bool:
        """Return whether there is a dashboard of that name."""
        return has_board(self.folder, name)

    def boards(self) -> dict[str, str]:
        """Return title by name of each dashboard's notebook, the overview first."""
        names = sorted(
            path.stem for path in self.folder.glob("*.ipynb") if _NAME.fullmatch(path.stem)
        )
        names.sort(key=lambda name: name != "overview")
        return {name: self.board_title(name) for name in names}

    def board_title(self, name: str) -> str:
        """Return the title of a dashboard: ours from the texts, others from their first heading."""
        key = f"board.{name}"
        if self.texts.has(key):
            return self.texts(key)
        return first_heading(self.folder / f"{name}.ipynb") or name

    def bar(self, current: str | None = None) -> Html:
        """Return the bar at the top of every page."""
        links = [
            tag(
                "a",
                title,
                href=f"{self.prefix}{name}",
                aria_current="page" if name == current else None,
            )
            for name, title in self.boards().items()
        ]
        explore = None
        if self.live is not None and current is not None:
            words = self.texts("front.explore")
            explore = tag("a", icon("zoom"), words, href=f"{self.live}{current}")
        return tag(
            "div",
            tag("a", icon("board"), self.title, href="/", class_="ws-brand"),
            tag("nav", links, class_="ws-nav", aria_label=self.texts("page.boards")),
            tag("div", explore, self.other_languages(), class_="ws-top-end")
            if self.languages is not None
            else None,
            class_="ws-top",
        )

    def other_languages(self) -> list[Html]:
        """Return a link to each other language, in that language's own words."""
        if self.languages is None:
            return []
        return [
            tag("a", name, href=f"{self.languages}{code}", lang=code, hreflang=code)
            for code, name in LANGUAGE_NAMES.items()
            if code != self.texts.language
        ]

    def resources(self) -> dict[str, Any]:
        """Return what the template of live dashboards needs."""
        texts = self.texts
        boards = self.boards()
        reload_button = tag(
            "button", texts("page.reload"), class_="ws-button", onclick="location.reload()"
        )
        error = tag(
            "div",
            icon("cross"),
            tag("div", tag("p", texts("page.error"))),
            class_="ws-notice ws-bad",
            role="alert",
        )
        return {
            "language": texts.language,
            "site": self.title,
            "titles": boards,
            "bar": self.bar().markup,
            "bars": {name: self.bar(name).markup for name in boards},
            "head": theme.head().markup,
            "plotly": self.plotly,
            "icon": ICON,
            "loading": texts("page.loading"),
            "error": error.markup,
            "ended": (tag("span", texts("page.ended")) + reload_button).markup,
        }

    def document(
        self, title: str, *content: Html, refresh_s: int | None = None, made: str | None = None
    ) -> str:
        """Return a whole page of our own.

        Parameters
        ----------
        refresh_s : int, optional
            The browser loads it again after so long [s].
        made : str, optional
            When a static page was made; the browser looks for a newer one now and then.
        """
        again = tag("meta", http_equiv="refresh", content=refresh_s) if refresh_s else None
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="same-origin"),
            again,
            tag("title", f"{title} · {self.title}"),
            tag("link", rel="icon", href=ICON),
            theme.head(),
        )
        body = tag("body", content, class_="ws", data_ws_made=made)
        return "<!DOCTYPE html>" + tag("html", head, body, lang=self.texts.language).markup

    def sentence(self, title: str, text: str, *, refresh_s: int | None = None) -> str:
        """Return a page that says one thing and leads back."""
        back = tag("a", self.texts("page.back"), href="/")
        inner = tag("main", tag("h1", title), tag("p", text), back, class_="ws-simple")
        return self.document(title, inner, refresh_s=refresh_s)


def has_board(folder: Path, name: str) -> bool:
    """Return whether a folder of dashboards has one of that name."""
    return bool(_NAME.fullmatch(name)) and (folder / f"{name}.ipynb").is_file()


def first_heading(notebook: Path) -> str | None:
    """Return the first heading of a notebook's text, or None."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = re.search(r"^#\s+(.+)$", "\n".join(sources), re.MULTILINE)
    return found[1].strip() if found else None
