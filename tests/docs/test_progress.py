"""The pages about progress and FastAPI are one project: its worker, its server and real requests."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docs.place import environment
from tests.docs.snippets import ROOT, read
from tests.support.waiting import eventually

BIN = Path(sys.executable).parent
SETTINGS = """
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = "not secret", ["*"], "django_urls"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project of the pages, with its worker at work."""
    folder = tmp_path_factory.mktemp("project")
    for page in ("progress.md", "fastapi.md"):
        for name, code in read(ROOT / "docs" / page).files.items():
            (folder / name).write_text(code, encoding="utf-8")
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "asgi.py").write_text(
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "import steps\nfrom django.core.asgi import get_asgi_application\nweb = get_asgi_application()\n"
    )
    log = folder / "worker.log"
    with running(folder, log, "agentq", "up", "-A", "steps"):
        eventually(lambda: " ready." in log.read_text(), 60, what="a ready worker")
        yield folder


@contextmanager
def running(folder: Path, log: Path, *command: str) -> Iterator[None]:
    """One of the environment's programs, from its start to its end."""
    with log.open("wb") as output:
        program = [str(BIN / command[0]), *command[1:]]
        process = subprocess.Popen(program, cwd=folder, env=environment(), stdout=output, stderr=output)
    try:
        yield
    except BaseException as error:
        error.add_note(log.read_text()[-3_000:])
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def served(folder: Path, *command: str) -> Iterator[httpx.Client]:
    """A client of one of the project's servers; the command's last word is followed by a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        running(folder, folder / "server.log", *command, str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client,
    ):
        eventually(lambda: _answers(client), 30, what="a server that answers")
        yield client


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code > 0
    except httpx.TransportError:
        return False


def events_of(text: str) -> list[dict[str, Any]]:
    """Read server-sent events as a browser does."""
    frames = [dict(line.split(": ", 1) for line in part.splitlines()) for part in text.split("\n\n") if part]
    return [frame | {"data": json.loads(frame["data"])} for frame in frames if "id" in frame]


def require_resumable(client: httpx.Client, path: str) -> None:
    """Follow a workflow to its end, and again from each event."""
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events_of(answer.text)
    kinds = [event["event"] for event in found]
    assert (kinds[0], kinds[-1]) == ("workflow.started", "workflow.succeeded")
    assert kinds.count("topic") == 1
    assert kinds.count("progress") == 4
    assert kinds.count("job.succeeded") == 5
    for number, event in enumerate(found[:-1]):
        rest = client.get(path, headers={"Last-Event-ID": event["id"]})
        assert events_of(rest.text) == found[number + 1 :]
    assert client.get(path, headers={"Last-Event-ID": found[-1]["id"]}).status_code == 204


@pytest.fixture(scope="module")
def fastapi(folder: Path) -> Iterator[httpx.Client]:
    """A client of the project's FastAPI application."""
    with served(folder, "uvicorn", "web:web", "--port") as client:
        yield client


@pytest.mark.parametrize("path", ["/digests/chapter", "/async/digests/chapter"])
def test_fastapi_starts_shows_the_status_and_streams(fastapi: httpx.Client, path: str) -> None:
    id_ = fastapi.post(path).json()["id"]
    done = eventually(
        lambda: (digest := fastapi.get(f"/digests/{id_}").json())["status"] == "succeeded" and digest,
        30,
        what="its end",
    )
    assert done == {"status": "succeeded", "result": "CHAPTER 1, CHAPTER 2, CHAPTER 3"}
    require_resumable(fastapi, f"/digests/{id_}/events")


UNKNOWN = ("/digests/019a0000-0000-7000-8000-000000000000", "/digests/no-id-at-all")


def require_not_found(client: httpx.Client, *paths: str) -> None:
    """A missing thing is reported as missing, and not as an error of the server's."""
    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 404)


def test_fastapi_answers_not_found(fastapi: httpx.Client) -> None:
    require_not_found(fastapi, *UNKNOWN, *(f"{path}/events" for path in UNKNOWN))


@pytest.mark.long
def test_flask_streams(folder: Path) -> None:
    with served(folder, "flask", "--app", "flask_app", "run", "--port") as client:
        id_ = client.post("/digests/chapter").json()["id"]
        require_resumable(client, f"/digests/{id_}/events")
        require_not_found(client, *(f"{path}/events" for path in UNKNOWN))


@pytest.mark.long
def test_django_streams(folder: Path, fastapi: httpx.Client) -> None:
    id_ = fastapi.post("/digests/chapter").json()["id"]
    with served(folder, "uvicorn", "asgi:web", "--port") as client:
        require_resumable(client, f"/digests/{id_}/events")
        require_not_found(client, *(f"{path}/events" for path in UNKNOWN))


@pytest.mark.long
def test_the_events_are_followed_in_python_and_in_the_terminal(folder: Path) -> None:
    printed = _run(folder, "python", "follow.py").splitlines()
    assert printed[0].startswith("workflow.started None ")
    assert printed[-1] == f"{len(printed) - 1} events"
    (id_,) = {
        workflow["id"] for workflow in json.loads(_run(folder, "agentq", "workflows", "--json", "--limit", "1"))
    }
    shown = _run(folder, "agentq", "workflows", "watch", id_)
    assert re.search(r"progress +steps\.summarise  2/2 reading 3\n", shown)
    lines = [json.loads(line) for line in _run(folder, "agentq", "workflows", "watch", id_, "--json").splitlines()]
    assert len(lines) == len(printed) - 1
    rest = _run(folder, "agentq", "workflows", "watch", id_, "--json", "--after", lines[2]["id"])
    assert [json.loads(line) for line in rest.splitlines()] == lines[3:]


def _run(folder: Path, *command: str) -> str:
    program = [str(BIN / command[0]), *command[1:]]
    done = subprocess.run(program, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
