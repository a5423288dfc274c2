"""The demo as a user runs it: real processes, killed and flushed; the report is the same every time."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentq.demo.errors import DemoError
from agentq.demo.runner import make_ready
from agentq.ledger.db.session import Ledger
from agentq.operations import jobs, workflows
from agentq.states import JobStatus, WorkflowStatus
from tests.demo.endpoint import Endpoint
from tests.support.waiting import eventually
from tests.support.worker import STOPS_WITHIN

ROOT = Path(__file__).parents[2]
DOCUMENTS = 16
WORDS = "queue broker message worker database schema request server test package setting text pattern thread the"
UUID = r"[0-9a-f-]{36}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that are long enough for a step to take a while."""
    folder = tmp_path_factory.mktemp("documents")
    chance = random.Random(1)
    for number in range(DOCUMENTS):
        sentences = [f"The {' '.join(chance.choices(WORDS.split(), k=14))}." for _ in range(150)]
        (folder / f"{number:02}.md").write_text(f"# Document {number}\n\n" + " ".join(sentences))
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """The output of a run, and the report that it writes, when nothing is done to it."""
    where = tmp_path_factory.mktemp("undisturbed")
    return run(where, folder), (where / "report.md").read_bytes()


def test_without_a_terminal_the_run_prints_plain_lines(undisturbed: tuple[str, bytes]) -> None:
    output, report = undisturbed
    assert "\x1b" not in output
    assert f"classify {DOCUMENTS}/{DOCUMENTS} | combine 1/1 | write 1/1\n" in output
    assert re.search(rf"each \({DOCUMENTS} branches\) +succeeded", output)
    assert "The report is report.md. It begins:\n\n  # Digest of 16 documents\n" in output
    assert re.search(r"16 documents in \d+\.\d s\. Model: offline extraction", output)
    assert re.search(rf"agentq workflows show {UUID}\n", output)
    assert all(f"## Document {number}\n".encode() in report for number in range(DOCUMENTS))
    assert "lost" not in output


@pytest.mark.long
def test_killed_jobs_run_again_and_the_report_is_the_same(
    undisturbed: tuple[str, bytes], folder: Path, tmp_path: Path
) -> None:
    output = run(tmp_path, folder, "--kill")
    reserved = found(r"Killed worker 1.* with (\d+) jobs? reserved\. Started worker 2\.", output)
    assert found(r"Lost with their worker, and run again: (\d+) jobs?\.", output) == reserved
    assert len(re.findall(r"demo\.\w+ file://\S+\.md: attempt 1 lost, attempt 2 succeeded", output)) == int(
        reserved
    )
    assert "Both are the same, byte for byte" in output
    assert (tmp_path / "report.md").read_bytes() == undisturbed[1]


@pytest.mark.long
def test_flushed_messages_are_sent_again_and_the_report_is_the_same(
    undisturbed: tuple[str, bytes], folder: Path, tmp_path: Path
) -> None:
    output = run(tmp_path, folder, "--flush")
    gone = found(r"Emptied the broker \(FLUSHALL\) with (\d+) messages? waiting in it\.", output)
    again = found(r"Dispatched again, because the broker had lost their messages: (\d+) jobs?\.", output)
    assert int(again) >= int(gone) > 0
    assert "Lost with their worker" not in output
    assert (tmp_path / "report.md").read_bytes() == undisturbed[1]


def test_killed_and_flushed_the_report_is_the_same(
    undisturbed: tuple[str, bytes], folder: Path, tmp_path: Path
) -> None:
    output = run(tmp_path, folder, "--kill", "--flush")
    for part in ("Emptied the broker", "Killed worker 1", "Lost with their worker", "Dispatched again"):
        assert part in output
    assert (tmp_path / "report.md").read_bytes() == undisturbed[1]


@pytest.mark.long
def test_after_ctrl_c_any_worker_finishes_the_workflow(
    undisturbed: tuple[str, bytes], folder: Path, tmp_path: Path
) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / '.agentq' / 'ledger.db'}")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # a model that never answers: nothing ends before Ctrl-C
        started(
            tmp_path, demo(folder), OPENAI_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        ) as process,
    ):
        assert process.stdout is not None
        workflow_id = found(f"Started workflow ({UUID})", process.stdout.readline())
        eventually(lambda: done(ledger, workflow_id, "demo.find"), 60, what="the first step to succeed")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=2 * STOPS_WITHIN)  # of the demo, and of its worker
    assert (process.returncode, errors) == (130, "")
    assert workflows.get(ledger, workflow_id).status is WorkflowStatus.RUNNING
    resume = found(r"celery (-A agentq\.demo\.app worker)\n", output)
    with started(tmp_path, ["-m", "celery", *resume.split(), "--concurrency", "2"]) as worker:
        eventually(lambda: done(ledger, workflow_id, "demo.write"), 60, what="the last step to succeed")
        worker.terminate()
        worker.communicate(timeout=STOPS_WITHIN)
    ledger.close()
    assert (tmp_path / "report.md").read_bytes() == undisturbed[1]


@pytest.mark.long
def test_any_chat_completions_endpoint_will_do(endpoint: Endpoint, folder: Path, tmp_path: Path) -> None:
    endpoint.answers = ["data"] * DOCUMENTS * 3
    output = run(tmp_path, folder, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY="secret", OPENAI_MODEL="small")
    assert f"Model: small at {endpoint.url}." in output
    assert "- **data** (16): Document 0, Document 1" in (tmp_path / "report.md").read_text()
    assert (endpoint.answers, set(endpoint.keys)) == ([], {"Bearer secret"})


@pytest.mark.long
def test_a_folder_without_documents_fails_its_step_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with started(tmp_path, demo(tmp_path / "empty")) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("error: step 'demo.find' failed after 1 attempt(s): ")
    assert "empty holds no .md, .rst or .txt file; name a folder that does." in errors
    assert re.search(r"demo\.find .* failed +attempts 1 of \d", output)


def test_a_worker_that_does_not_start_is_an_error_with_the_end_of_its_log(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'worker' in sys.orig_argv:\n    raise SystemExit('no worker today')\n"
    )
    with started(tmp_path, demo(folder), PYTHONPATH=f"{tmp_path}:{ROOT}") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("error: The worker ended by itself, with exit status 1. The end of ")
    assert errors.endswith("SystemExit: no worker today\n")


def test_only_the_demos_own_broker_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(DemoError, match="unset CELERY_BROKER_URL"):
        make_ready(flush=True)


def test_the_offline_models_libraries_are_loaded_by_the_worker_only() -> None:
    loaded = "import sys, agentq.demo.runner; print({'numpy', 'sumy', 'yake'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout == "set()\n"


def run(where: Path, folder: Path, *options: str, **environment: str) -> str:
    """Run the demo to its end and return what it printed."""
    with started(where, demo(folder, *options), **environment) as process:
        output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, ""), output
    return output


def done(ledger: Ledger, workflow_id: str, step: str) -> int:
    """Return how many jobs of a step succeeded."""
    counts = jobs.progress(ledger, workflow_id)
    return sum(count.jobs for count in counts if (count.step, count.status) == (step, JobStatus.SUCCEEDED))


def demo(folder: Path, *options: str) -> list[str]:
    return ["-m", "agentq.demo", str(folder), "--output", "report.md", "--concurrency", "2", *options]


@contextmanager
def started(where: Path, arguments: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a folder, with the configuration that it would have by default."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_", "OPENAI_"))
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=where,
        env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=STOPS_WITHIN)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"{pattern} is not in:\n{text}"
    return match[1]
