"""A broker in the process's memory: a crash takes all its messages along, unless they are delivered again."""

from __future__ import annotations

from typing import Any

from kombu import pools
from kombu.transport.memory import Channel, Transport

from tests.sweep.diary import Diary


def note_messages(diary: Diary) -> None:
    """Note whatever the broker is sent from now on."""
    channel: Any = Channel
    put = channel._put

    def put_and_note(self: Any, queue: str, message: dict[str, Any], **options: Any) -> None:
        put(self, queue, message, **options)
        diary.add_message(queue, message)

    channel._put = put_and_note


def restart(app: Any) -> None:
    """Make the broker new and empty."""
    pool: Any = pools
    transport: Any = Transport
    pool.reset()
    app._after_fork()
    Channel.queues.clear()
    transport.global_state.clear()


def deliver_again(diary: Diary) -> None:
    """Put in every message that was ever sent: the waiting, the unacknowledged, and those done with."""
    for queue, message in diary.messages():
        _put(queue, message)


def forget() -> None:
    """Lose all messages."""
    for queue in Channel.queues.values():
        queue.queue.clear()


def has_messages() -> bool:
    """Say whether any message waits."""
    return any(queue.qsize() for queue in Channel.queues.values())


def _put(queue: str, message: dict[str, Any]) -> None:
    channel: Any = Channel
    channel._new_queue(channel, queue)
    channel.queues[queue].put(message)
