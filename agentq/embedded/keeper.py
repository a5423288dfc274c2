"""The keeper: a small detached process that owns the private server of one folder.

`Embedded.start` runs this file as a script, with the standard library only, so that it is up in
milliseconds. Two locks in the folder hold the whole state; the kernel drops them however a process ends:

- `users.lock` is held shared by every process that uses the folder. A process that gets it exclusively is alone.
- `keeper.lock` is held exclusively by the keeper.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

USERS_LOCK = "users.lock"
KEEPER_LOCK = "keeper.lock"
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


def open_lock(folder: str | os.PathLike[str], name: str) -> int:
    """Open a lock file of a folder and return its descriptor, which no started program inherits."""
    return os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(lock: int, *, shared: bool = False) -> bool:
    """Take a lock, exclusively unless `shared`, and return whether it was free."""
    import fcntl  # not on Windows, where this module is imported but never used

    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(folder: str, socket_path: str, binary: str) -> None:
    """Become the keeper of a folder, in a process of its own, unless it has one."""
    keeper_lock = open_lock(folder, KEEPER_LOCK)
    if not try_lock(keeper_lock):
        return
    os.ftruncate(sys.stdout.fileno(), 0)  # the log is about this keeper
    dismiss_orphan(socket_path)
    if os.fork():
        return  # the starter waits for this process only; the lock stays with the child
    os.setsid()
    users_lock = open_lock(folder, USERS_LOCK)
    serve_until_alone(users_lock, folder, socket_path, binary)
    if is_lock_of(keeper_lock, folder):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path)


def serve_until_alone(users_lock: int, folder: str, socket_path: str, binary: str) -> None:
    """Keep a server running until no process uses the folder; return with `users_lock` held exclusively."""
    server = launch(folder, socket_path, binary)
    while not try_lock(users_lock):
        time.sleep(POLL_SECONDS)
        if server.poll() is not None:
            server = launch(folder, socket_path, binary)
    server.kill()  # it has nothing to save
    server.wait()


def launch(folder: str, socket_path: str, binary: str) -> subprocess.Popen[bytes]:
    """Start the server as a child that listens on the unix socket only and writes nothing to disk."""
    options = {
        "--port": "0",
        "--unixsocket": socket_path,
        "--unixsocketperm": "700",
        "--save": "",
        "--appendonly": "no",
        "--dir": folder,
    }
    arguments = [part for option in options.items() for part in option]
    die_with_keeper = set_death_signal if sys.platform == "linux" else None
    return subprocess.Popen([binary, *arguments], preexec_fn=die_with_keeper)


def set_death_signal() -> None:
    """Have the kernel kill this process when its parent dies (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def dismiss_orphan(socket_path: str) -> None:
    """Shut down a server whose keeper was killed: elsewhere than on Linux it lives on."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(2)
        connection.connect(socket_path)
        connection.sendall(b"SHUTDOWN NOSAVE\r\n")
        connection.recv(1)  # returns when the server is gone


def is_lock_of(lock: int, folder: str) -> bool:
    """Say if a lock is still the folder's: a folder that was deleted may have been made anew in its place."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(os.path.join(folder, KEEPER_LOCK)))
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
