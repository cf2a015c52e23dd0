"""The server of live dashboards: Voila on its own, with its own token, showing nothing but them.

Its root holds the dashboards' notebooks only; kernels get no secrets, talk over local sockets where
the system has them, and end when nobody needs them. `workspace_lib.views.live` starts it.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jupyter_core.utils import run_sync
from jupyter_server.utils import url_path_join
from tornado import httpserver, ioloop, netutil, web
from traitlets.config import Config
from voila.app import Voila
from voila.configuration import VoilaConfiguration
from voila.static_file_handler import TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler

from workspace_lib.errors import ConfigError
from workspace_lib.files import atomic_write
from workspace_lib.runs.processes import end_descendants
from workspace_lib.settings import Settings
from workspace_lib.views.access import address
from workspace_lib.views.kernels import DashboardKernelManager
from workspace_lib.views.site import Site
from workspace_lib.views.texts import Texts, languages
from workspace_lib.views.voila_pages import (
    BoardHandler,
    GalleryHandler,
    HealthHandler,
    LoginHandler,
    MissingHandler,
    ShortHandler,
)
from workspace_lib.views.warm_kernels import WarmKernels

log = logging.getLogger(__name__)

#: Ports tried after the configured one before any free one is taken.
NEXT_PORTS = 20
CELL_TIMEOUT_S = 120
# Nothing may come from another machine, whatever a device wrote into a name. Widgets compile code.
CONTENT_SECURITY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss:",
        "frame-ancestors 'self'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
#: A kernel that vanishes while all are ended makes that fail; the next try finds the others.
STOP_TRIES = 5
#: What a kernel gets to end by itself, once asked.
KERNEL_GRACE_S = 5.0


def run(
    settings: Settings,
    token: str,
    *,
    port: int | None = None,
    announce: Path | None = None,
    listening: Callable[[str], None] = lambda address: None,
    warm: WarmKernels | None = None,
) -> None:
    """Serve the dashboards in this process, see `workspace_lib.views.live.serve`.

    Parameters
    ----------
    warm : WarmKernels, optional
        Forks the kernels; without it each starts by itself.
    """
    folder = settings.notebooks_dir / "dashboards"
    app = DashboardServer(config=_config(settings, folder, token, port))
    app.workspace_settings = settings
    app.announce, app.listening = announce, listening
    app.warm = DashboardKernelManager.warm = warm
    app.initialize([])
    app.start()


class DashboardServer(Voila):  # type: ignore[misc]
    """Voila with our pages in place of its tree, and nothing else of it exposed."""

    workspace_settings: Settings
    port: int
    #: Heartbeats (one in ten seconds) after which a page that says nothing else is given up.
    workspace_patience: int = CELL_TIMEOUT_S // 10 + 3
    announce: Path | None = None
    listening: Callable[[str], None]
    warm: WarmKernels | None = None

    def init_settings(self) -> dict[str, Any]:
        """Return the web application's settings, with ours added."""
        found: dict[str, Any] = super().init_settings()
        settings = self.workspace_settings
        # The site's own language first: it is taken where the reader chose none.
        sites = {
            language: Site(
                title=settings.title or settings.site_name,
                texts=Texts(language, settings.zone),
                folder=Path(self.root_dir),
                plotly=f"/voila/plotly/plotly.min.js?v={version('plotly')}",
                languages="?language=",
            )
            for language in dict.fromkeys((settings.language, *languages()))
        }
        self.identity_provider.login_handler_class = LoginHandler
        return found | {
            "workspace_sites": sites,
            "workspace_configurations": {
                language: self._speaking(site) for language, site in sites.items()
            },
            "workspace_max_kernels": settings.dashboards.max_kernels,
            "workspace_starting": set(),
            "workspace_patience": self.workspace_patience,
            "headers": {
                "Content-Security-Policy": CONTENT_SECURITY,
                "Referrer-Policy": "same-origin",
                "X-Frame-Options": "SAMEORIGIN",
            },
            "default_handler_class": MissingHandler,
        }

    def _speaking(self, site: Site) -> VoilaConfiguration:
        """Return Voila's configuration with what the template needs in a site's language."""
        config = copy.deepcopy(self.config)
        config.VoilaConfiguration.resources = {"workspace": site.resources()}
        return VoilaConfiguration(config=config)

    def init_handlers(self) -> list[Any]:
        """Return Voila's routes, without its tree, its contents and its files."""
        hidden = (TornadoVoilaHandler, TornadoVoilaTreeHandler)
        kept = [
            handler
            for handler in super().init_handlers()
            if not issubclass(handler[1], hidden)
            and not any(part in handler[0] for part in ("/voila/files/", "/api/contents"))
            and handler[1] is not TemplateStaticFileHandler
        ]
        arguments = {
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        base = self.server_url
        return [
            (base, GalleryHandler),
            (url_path_join(base, r"/health"), HealthHandler),
            (url_path_join(base, r"/voila/render/([\w.-]+)"), BoardHandler, arguments),
            (
                url_path_join(base, r"/voila/plotly/(plotly\.min\.js)"),
                web.StaticFileHandler,
                {"path": str(_plotly_folder())},
            ),
            (
                # Voila's own pattern lets paths through that its handler fails at.
                url_path_join(base, r"/voila/templates/([\w.-]+/static/.+)"),
                TemplateStaticFileHandler,
            ),
            *kept,
            (url_path_join(base, r"/([A-Za-z][\w-]*)"), ShortHandler),
        ]

    def listen(self) -> None:
        """Listen on the configured port, else on the next free one, and say where."""
        wanted: int = self.port
        sockets = bind(self.ip, wanted)
        self.port = sockets[0].getsockname()[1]
        server = httpserver.HTTPServer(self.app)
        server.add_sockets(sockets)
        where = address(self.ip, self.port)
        if wanted not in (0, self.port):
            log.warning("Port %d is taken; the dashboards are on port %d.", wanted, self.port)
        log.info("Dashboards are served on %s", where)
        announced = b""
        if self.announce is not None:
            said = {"address": where, "host": self.ip, "port": self.port, "pid": os.getpid()}
            announced = json.dumps(said).encode()
            atomic_write(self.announce, announced, durable=False)
        self.listening(where)
        self.ioloop = ioloop.IOLoop.current()
        signal.signal(signal.SIGTERM, self._handle_signal_stop)
        signal.signal(signal.SIGINT, self._handle_signal_stop)
        try:
            self.ioloop.start()
        finally:
            server.stop()
            # Another server of the same site may have announced itself meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if self.announce is not None and self.announce.read_bytes() == announced:
                    self.announce.unlink()
            self.stop()

    def stop(self) -> None:
        """End all kernels, also one that is only starting, then remove their folder."""
        if self.warm is not None:
            self.warm.stop()
        for _ in range(STOP_TRIES):
            try:
                run_sync(self.kernel_manager.shutdown_all)()
            except web.HTTPError as error:
                if error.status_code != HTTPStatus.NOT_FOUND:
                    raise
            if not self.kernel_manager.list_kernel_ids():
                break
        # The manager knows no kernel whose start was cut short; this server starts nothing else.
        left = end_descendants(grace_s=KERNEL_GRACE_S)
        if left:
            log.warning("These kernels could not be ended: %s", left)
        # Last, because a kernel that still starts would write into it again.
        shutil.rmtree(self.connection_dir, ignore_errors=True)


def bind(host: str, port: int) -> list[Any]:
    """Return sockets listening on ``port``, on one of the next, or on any free one.

    Raises
    ------
    ConfigError
        If the host is no address of this machine.
    """
    tries = [*range(port, min(port + NEXT_PORTS, 65_536)), 0] if port else [0]
    error: OSError | None = None
    for number in tries:
        try:
            return netutil.bind_sockets(number, address=host or None)
        except OSError as failure:
            error = failure
    raise ConfigError(
        f"The dashboards cannot listen on {host!r} ({error}).",
        fix="Set dashboards.host to an address of this machine.",
    )


def _config(settings: Settings, folder: Path, token: str, port: int | None) -> Config:
    config = Config()
    dashboards = settings.dashboards
    config.Voila.ip = dashboards.host
    config.Voila.port = dashboards.port if port is None else port
    config.Voila.open_browser = False
    config.Voila.root_dir = str(folder)
    config.Voila.token = token
    # Another Voila's configuration on this machine must not open what is closed here.
    config.Voila.config_file_paths = []
    config.Voila.log_level = logging.WARNING
    config.Voila.connection_dir_root = _short_folder()
    config.VoilaConfiguration.template = "workspace"
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.allow_theme_override = "NO"
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.strip_sources = True
    config.VoilaConfiguration.extension_denylist = ["@jupyterlab/scheduler"]
    config.VoilaExecutor.timeout = CELL_TIMEOUT_S
    config.MappingKernelManager.kernel_manager_class = (
        "workspace_lib.views.kernels.DashboardKernelManager"
    )
    config.MappingKernelManager.cull_idle_timeout = dashboards.cull_idle_s
    config.MappingKernelManager.cull_interval = min(30, dashboards.cull_idle_s)
    # The page says that its session ended; without this a wall screen would keep a kernel for ever.
    config.MappingKernelManager.cull_connected = True
    if sys.platform != "win32":
        config.KernelManager.transport = "ipc"
    return config


def _short_folder() -> str:
    """Return a folder whose sockets' paths stay under the system's limit of about 100 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) < 40 or sys.platform == "win32" else "/tmp"


def _plotly_folder() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data"
