"""The server shows dashboards to those with the token, and nothing else to anybody."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import nbformat
import psutil
import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

Server = Any
PATIENCE_S = 60


def notebook(*sources: str) -> str:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    return str(nbformat.writes(book))


@pytest.fixture(scope="module")
def server(
    filling: ModuleType, filled: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Dashboards of the filled site, and a few that nobody should write; two viewers at most."""
    folder = filled.settings.notebooks_dir / "dashboards"
    extra = {
        "failing": notebook("print('before')", "1 / 0", "print('after')"),
        "spying": notebook("import os; print('FOUND', sorted(os.environ))"),
        "writing": notebook(
            "from workspace_lib.views.board import open_board\n"
            "from workspace_lib.store.engines import write\n"
            "with write(open_board('runs').store.control) as c:\n"
            "    c.exec_driver_sql('DELETE FROM runs')",
        ),
        "slow": notebook("import time; time.sleep(3); print('done')"),
        "bad name": notebook("print('x')"),
    }
    for name, content in extra.items():
        (folder / f"{name}.ipynb").write_text(content)
    (folder / "picture.png").write_bytes(b"private")
    settings = {"WORKSPACE_DASHBOARDS__MAX_KERNELS": "2", "PLANT_FTP": "canary-4711"}
    with filling.serving(filled.settings, tmp_path_factory.mktemp("server"), **settings) as one:
        yield one
    for name in extra:
        (folder / f"{name}.ipynb").unlink()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Somebody with the token."""
    with httpx.Client(base_url=server.address, follow_redirects=True, timeout=90) as one:
        one.get(f"/?token={server.token}").raise_for_status()
        yield one


def kernels(server: Server) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            if process.name() == "ipykernel" or "ipykernel_launcher" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def sockets_of(kernel: psutil.Process) -> list[Path]:
    """Return the local sockets with a name that a kernel listens on."""
    found = kernel.net_connections(kind="unix")
    return [Path(one.laddr) for one in found if isinstance(one.laddr, str) and one.laddr[:1] == "/"]


def test_a_reader_has_dashboards_in_the_language_they_chose(client: httpx.Client) -> None:
    """Also the kernel knows it, and the choice holds for the pages that follow."""
    english = client.get("/runs").text
    assert '<html lang="en">' in english
    assert "Failed, 24" in english
    french = client.get("/runs?language=fr").text
    assert '<html lang="fr">' in french
    assert "Échecs, 24" in french
    assert "?language=en" in french
    assert '<html lang="fr">' in client.get("/").text
    assert "Échecs, 24" in client.get("/runs").text
    assert '<html lang="fr">' in client.get("/runs?language=xx").text


@pytest.mark.parametrize(
    "path", ["/", "/rain", "/voila/render/rain.ipynb", "/voila/render/x.ipynb"]
)
def test_without_the_token_everybody_is_asked_for_it(server: Server, path: str) -> None:
    answer = httpx.get(server.address.rstrip("/") + path)
    assert answer.status_code == 302
    assert "/login" in answer.headers["location"]


def test_a_wrong_token_opens_nothing(server: Server) -> None:
    answer = httpx.get(f"{server.address}?token=wrong")
    assert answer.status_code == 302
    assert "/login" in answer.headers["location"]


def test_the_log_in_page_takes_the_token(server: Server) -> None:
    with httpx.Client(base_url=server.address, follow_redirects=True) as somebody:
        page = somebody.get("/login")
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert xsrf is not None
        wrong = somebody.post("/login", data={"password": "no", "_xsrf": xsrf[1]})
        assert wrong.status_code == 401
        assert "That is not the token." in wrong.text
        right = somebody.post("/login", data={"password": server.token, "_xsrf": xsrf[1]})
        assert right.status_code == 200
        assert "Rain" in right.text


def test_the_token_does_not_stay_in_the_address(client: httpx.Client, server: Server) -> None:
    answer = client.get(f"/?token={server.token}&x=1")
    assert str(answer.url).endswith("/?x=1")


def test_the_list_names_the_dashboards(client: httpx.Client) -> None:
    page = client.get("/").text
    assert ">Rain<" in page
    assert ">Runs<" in page
    assert "Plant &lt;1&gt;" in page


@pytest.mark.parametrize(
    "path",
    [
        "/voila/tree",
        "/voila/files/picture.png",
        "/picture.png",
        "/voila/api/contents",
        "/api/contents",
        "/api/kernels",
        "/api/sessions",
        "/api/terminals",
        "/files/rain.ipynb",
        "/voila/render/..%2Fjobs%2Frain_sums.ipynb",
        "/voila/render/bad%20name.ipynb",
        "/voila/render/missing.ipynb",
        "/voila/render/picture.png",
        "/voila/templates/workspace/index.html.j2",
        "/missing",
    ],
)
def test_nothing_but_dashboards_is_shown(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (403, 404)
    assert "Traceback" not in answer.text


def test_the_token_starts_no_kernel(client: httpx.Client, server: Server) -> None:
    before = {process.pid for process in kernels(server)}
    xsrf = client.cookies.get("_xsrf")
    for path in ("/api/kernels", "/api/sessions", "/voila/api/kernels"):
        answer = client.post(path, json={"name": "python3"}, headers={"X-XSRFToken": xsrf or ""})
        assert answer.status_code in (403, 404, 405)
    assert {process.pid for process in kernels(server)} <= before


def test_pages_may_fetch_nothing_from_elsewhere(client: httpx.Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_a_dashboard_is_whole_and_gives_its_kernel_back(
    client: httpx.Client, server: Server, wait_until: Callable[..., None]
) -> None:
    page = client.get("/rain")
    assert page.status_code == 200
    assert page.text.rstrip().endswith("</html>")
    assert "<h1>Rain</h1>" in page.text
    assert "ws-notice ws-bad" not in page.text
    assert "voila.js" not in page.text
    wait_until(lambda: not kernels(server), "the kernel goes on")


def test_a_reader_who_leaves_takes_the_kernel_along(
    client: httpx.Client, server: Server, wait_until: Callable[..., None]
) -> None:
    with client.stream("GET", "/voila/render/slow.ipynb") as answer:
        chunks = answer.iter_text()
        seen = ""
        while "api/kernels/" not in seen:
            seen += next(chunks)
    wait_until(lambda: not kernels(server), "the kernel goes on")


def test_kernels_talk_over_local_sockets(
    client: httpx.Client, server: Server, wait_until: Callable[..., None]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(client.get, "/voila/render/slow.ipynb")
        wait_until(lambda: kernels(server), "no kernel")
        (kernel,) = kernels(server)
        wait_until(lambda: len(sockets_of(kernel)) >= 5, "no sockets")
        assert "done" in page.result().text


def test_a_cell_that_fails_is_a_sentence(client: httpx.Client) -> None:
    page = client.get("/voila/render/failing.ipynb").text
    assert "before" in page
    assert "This dashboard stopped before its end." in page
    assert "ZeroDivisionError" not in page
    assert "1 / 0" not in page


def test_a_dashboard_knows_no_secret(client: httpx.Client) -> None:
    page = client.get("/voila/render/spying.ipynb").text
    assert "FOUND" in page
    assert "PLANT_FTP" not in page
    assert "canary-4711" not in page


def test_a_dashboard_cannot_write_into_the_store(client: httpx.Client, filled: Any) -> None:
    page = client.get("/voila/render/writing.ipynb").text
    assert "This dashboard stopped before its end." in page
    assert "ws-bad" not in client.get("/runs").text.split("runs-slots")[0].split("<main")[1][:200]


def test_more_viewers_than_places_see_a_busy_page(
    client: httpx.Client, server: Server, wait_until: Callable[..., None]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: client.get("/voila/render/slow.ipynb"), range(4)))
    codes = sorted(page.status_code for page in pages)
    assert codes == [200, 200, 503, 503]
    busy = next(page for page in pages if page.status_code == 503)
    assert "All places are taken" in busy.text
    assert busy.headers["retry-after"] == "15"
    wait_until(lambda: not kernels(server), "a kernel goes on")


def test_health_needs_no_token(server: Server) -> None:
    assert httpx.get(f"{server.address}health").text == "ok"


def test_a_server_without_warm_kernels_is_announced_as_long_as_it_serves(
    filling: ModuleType, filled: Any, tmp_path: Path
) -> None:
    with filling.serving(
        filled.settings, tmp_path, WORKSPACE_DASHBOARDS__WARM_KERNELS="false"
    ) as server:
        (announced,) = tmp_path.glob("server-*.json")
        said = json.loads(announced.read_text())
        assert said["address"] == server.address
        assert (said["host"], said["pid"]) == ("127.0.0.1", server.process.pid)
        page = httpx.get(
            f"{server.address}voila/render/runs.ipynb",
            headers={"Authorization": f"token {server.token}"},
            timeout=90,
        )
        assert "<h1>Runs</h1>" in page.text
    assert not announced.exists()


def test_a_taken_port_gives_way_to_the_next(
    filling: ModuleType, filled: Any, tmp_path: Path
) -> None:
    from workspace_lib.views.voila_server import bind

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sockets = bind("127.0.0.1", port)
        try:
            assert sockets[0].getsockname()[1] != port
        finally:
            for one in sockets:
                one.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ending_it_leaves_no_kernel_and_no_folder(
    filling: ModuleType, filled: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    book = filled.settings.notebooks_dir / "dashboards" / "endless.ipynb"
    book.write_text(notebook("import time; time.sleep(600)"))
    try:
        with (
            filling.serving(filled.settings, tmp_path) as server,
            ThreadPoolExecutor(1) as pool,
            httpx.Client(base_url=server.address, follow_redirects=True, timeout=90) as one,
        ):
            one.get(f"/?token={server.token}")
            page = pool.submit(one.get, "/voila/render/endless.ipynb")
            wait_until(lambda: kernels(server), "no kernel")
            left = kernels(server)
            wait_until(lambda: sockets_of(left[0]), "no sockets")
            folder = sockets_of(left[0])[0].parent
            server.process.terminate()
            assert server.process.wait(60) == 0
            with pytest.raises(httpx.HTTPError):
                page.result()
        wait_until(lambda: not [p for p in left if p.is_running()], "a kernel goes on")
        assert not folder.exists()
    finally:
        book.unlink()
