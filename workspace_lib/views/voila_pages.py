"""The pages of the dashboards' server: live dashboards, their list, log-in, and what went wrong."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from voila.tornado.handler import TornadoVoilaHandler

from workspace_lib.views.blocks import badge, card, cards
from workspace_lib.views.html import Html, tag
from workspace_lib.views.site import LANGUAGE_COOKIE, LANGUAGE_KEPT_S, Site

_WIDGETS = "application/vnd.voila.cell-output+json"
_HEARTBEAT = "voila_heartbeat()"
_KERNEL = re.compile(r"api/kernels/([0-9a-f-]{36})")


class PageMixin:
    """What our pages share: the site, errors as sentences, an address without the token."""

    settings: dict[str, Any]
    request: Any

    @property
    def language(self) -> str:
        """The language that the address names, else the one the reader chose, else the site's."""
        known: dict[str, Site] = self.settings["workspace_sites"]
        asked = [one.decode("latin-1") for one in self.request.query_arguments.get("language", [])]
        chosen = self.get_cookie(LANGUAGE_COOKIE)  # type: ignore[attr-defined]
        found: str = next(one for one in (*asked[-1:], chosen, *known) if one in known)
        return found

    @property
    def site(self) -> Site:
        """The site these pages are about, as the reader's language tells of it."""
        site: Site = self.settings["workspace_sites"][self.language]
        return site

    def remember_language(self) -> None:
        """Keep the language that the address names for the pages that follow."""
        if "language" in self.request.query_arguments:
            self.set_cookie(  # type: ignore[attr-defined]
                LANGUAGE_COOKIE, self.language, max_age=LANGUAGE_KEPT_S, samesite="lax"
            )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what happened in a sentence; details are in the log."""
        texts = self.site.texts
        key = "page.missing" if status_code in (400, 403, 404, 405) else "page.wrong"
        self.set_header("Content-Type", "text/html; charset=utf-8")  # type: ignore[attr-defined]
        self.finish(  # type: ignore[attr-defined]
            self.site.sentence(texts(f"{key}_title"), texts(key))
        )

    def drop_token(self) -> bool:
        """Send the browser to the same address without its token, which a cookie now replaces."""
        arguments = {k: v[-1].decode() for k, v in self.request.query_arguments.items()}
        if "token" not in arguments:
            return False
        arguments.pop("token")
        rest = f"?{urlencode(arguments)}" if arguments else ""
        self.redirect(f"{self.request.path}{rest}")  # type: ignore[attr-defined]
        return True


class GalleryHandler(PageMixin, JupyterHandler):
    """The list of dashboards."""

    @web.authenticated
    def get(self) -> None:
        if self.drop_token():
            return
        self.remember_language()
        site, texts = self.site, self.site.texts
        tiles = []
        for name, title in site.boards().items():
            key = f"board.{name}.about"
            about = texts(key) if texts.has(key) else ""
            tiles.append(card(title, tag("p", about, class_="ws-note"), link=f"/{name}", word=True))
        head = tag("header", tag("h1", texts("page.boards")), class_="ws-head")
        main = tag("main", head, tag("div", cards(*tiles), class_="ws-gallery"), class_="ws-main")
        self.finish(site.document(texts("page.boards"), site.bar(), main))


class BoardHandler(PageMixin, TornadoVoilaHandler):  # type: ignore[misc]
    """One live dashboard; its kernel ends with the page unless the page has widgets."""

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        name = (path or "").removesuffix(".ipynb")
        if not self.site.has(name):
            raise web.HTTPError(404)
        if self.drop_token():
            return
        self.remember_language()
        self.voila_configuration = self.settings["workspace_configurations"][self.language]
        # What Voila tells the kernel of the address; a board reads its language there.
        self.request.query = urlencode({"language": self.language})
        kernels = self.kernel_manager
        most = self.settings["workspace_max_kernels"]
        starting = self.settings["workspace_starting"]
        if len(set(kernels.list_kernel_ids()) | starting) >= most:
            self._busy(most)
            return
        place = object()
        starting.add(place)
        kernel_id, widgets, finished = None, False, False
        heartbeats, tail = 0, ""
        try:
            async for html in self.get_generator(path=f"{name}.ipynb"):
                # Where the template itself fails Voila sends heartbeats for ever.
                heartbeats = heartbeats + 1 if _HEARTBEAT in html else 0
                if heartbeats > self.settings["workspace_patience"]:
                    self.write(self.site.resources()["error"])
                    break
                # Pieces of a page end anywhere, also within an id.
                tail = tail[-100:] + html
                if kernel_id is None and (found := _KERNEL.search(tail)):
                    kernel_id = found[1]
                    starting.discard(place)
                widgets = widgets or _WIDGETS in tail
                self.write(html)
                await self.flush()
            finished = True
        finally:
            starting.discard(place)
            # Without widgets nothing on the page needs the kernel; a reader who left needs none.
            if kernel_id in kernels and not (finished and widgets):
                await ensure_async(kernels.shutdown_kernel(kernel_id, now=True))

    def _busy(self, most: int) -> None:
        texts = self.site.texts
        self.set_status(503)
        self.set_header("Retry-After", "15")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        text = texts("page.busy", count=most)
        self.finish(self.site.sentence(texts("page.busy_title"), text, refresh_s=15))


class ShortHandler(PageMixin, JupyterHandler):
    """A dashboard's short address, ``/rain``."""

    @web.authenticated
    def get(self, name: str) -> None:
        if name not in self.site.boards():
            raise web.HTTPError(404)
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(f"/voila/render/{name}.ipynb{query}")


class LoginHandler(PageMixin, LoginFormHandler):
    """Asks for the token."""

    def _render(self, message: dict[str, str] | None = None) -> None:
        texts = self.site.texts
        xsrf = Html(self.xsrf_form_html())
        form = tag(
            "form",
            xsrf,
            tag(
                "label",
                texts("page.token"),
                tag("input", type="password", name="password", autofocus=True, required=True),
            ),
            tag("button", texts("page.enter"), class_="ws-button", type="submit"),
            method="post",
        )
        wrong = badge(texts, "bad", texts("page.login_wrong")) if message else None
        title = texts("page.login_title")
        inner = tag(
            "main", tag("h1", title), tag("p", texts("page.login")), wrong, form, class_="ws-simple"
        )
        self.finish(self.site.document(title, inner))


class MissingHandler(PageMixin, JupyterHandler):
    """Everything else."""

    @allow_unauthenticated
    def prepare(self) -> None:  # type: ignore[override]
        raise web.HTTPError(404)


class HealthHandler(web.RequestHandler):
    """Says that the server answers; needs no token and tells nothing else."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain")
        self.finish("ok")

    head = get
