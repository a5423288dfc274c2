"""kombu's insides that agentq leans on: each test fails when they change, and says who leans on them."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from kombu import Connection, Queue
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.transport import TRANSPORT_ALIASES, redis, resolve_transport, virtual


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("name", "kind"), [("redis", redis.Transport), ("rediss", redis.Transport)])
def test_a_transport_is_found_by_its_alias_each_time(
    name: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """agentq/runtime/bridge/redis_transport.py puts its own under kombu's aliases."""
    monkeypatch.setitem(TRANSPORT_ALIASES, name, f"{kind.__module__}:{kind.__name__}")
    assert resolve_transport(name) is kind
    monkeypatch.setitem(TRANSPORT_ALIASES, name, "kombu.transport.memory:Transport")
    assert resolve_transport(name) is not kind


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://localhost", "redis+socket:///tmp/none"])
def test_the_scheme_of_an_address_is_the_alias(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """agentq/runtime/bridge/redis_transport.py; addresses of the embedded broker are of the last kind."""
    monkeypatch.setattr("kombu.transport._transport_cache", {})  # as in a process that has not connected yet
    for name in ("redis", "rediss"):
        monkeypatch.setitem(TRANSPORT_ALIASES, name, f"{__name__}:Transport")
    assert isinstance(Connection(url).transport, Transport)


class Transport(redis.Transport):
    pass


def test_a_channel_asks_its_own_class_for_all_that_agentq_overrides() -> None:
    """agentq/runtime/bridge/redis_transport.py overrides them."""
    for kind in (redis.Channel, redis.SentinelChannel):
        assert issubclass(kind, virtual.Channel)
        assert kind.QoS is redis.QoS
        assert list(kind.priority_steps) == [0, 3, 6, 9]
        assert parameters(kind._connparams) == ["self", "asynchronous"]
        assert parameters(kind._create_client) == ["self", "asynchronous"]
        assert parameters(kind._has_queue) == ["self", "queue", "kwargs"]
        assert parameters(kind._size) == ["self", "queue"]
        assert parameters(kind._restore) == ["self", "message", "leftmost"]
    assert parameters(virtual.Channel._restore) == ["self", "message"]
    assert redis.Transport.Channel is redis.Channel
    assert redis.SentinelTransport.Channel is redis.SentinelChannel
    assert redis.Transport.driver_type == "redis"


def test_a_message_that_is_worked_on_is_kept_in_memory_by_the_virtual_transport() -> None:
    """agentq/runtime/bridge/redis_transport.py calls it past Redis's class, which writes there."""
    for name in ("append", "ack", "reject"):
        assert parameters(getattr(virtual.QoS, name)) == parameters(getattr(redis.QoS, name))
    assert parameters(redis.QoS.restore_unacked) == ["self", "client"]
    assert parameters(redis.QoS.restore_by_tag) == ["self", "tag", "client", "leftmost"]
    channel = Mock(connection=None)
    kept = redis.QoS(channel, prefetch_count=1)
    message = Mock()
    virtual.QoS.append(kept, message, "tag")
    assert kept._delivered["tag"] is message
    assert not kept.can_consume()
    virtual.QoS.reject(kept, "tag", requeue=True)
    channel._restore_at_beginning.assert_called_once_with(message)
    virtual.QoS.ack(kept, "tag")
    assert kept.can_consume()
    kept._delivered.clear()
    assert [call for call in channel.method_calls if "conn_or_acquire" in str(call)] == []


def test_a_message_is_given_back_to_the_queue_that_it_came_from() -> None:
    """agentq/runtime/bridge/redis_transport.py calls the virtual transport's way for its own messages."""
    channel = Mock()
    channel._lookup.return_value = ["celery"]
    message = Mock(delivery_info={"exchange": "", "routing_key": "celery"})
    message.serializable.return_value = {"body": "…"}
    virtual.Channel._restore(channel, message)
    channel._put.assert_called_once_with("celery", {"body": "…", "redelivered": True})


def test_an_unreadable_message_of_redis_is_in_the_frame_that_fails() -> None:
    """agentq/runtime/entry/consumer.py reads the queue and the text there, by these names."""
    client = Mock()
    client.parse_response.return_value = (b"celery", b"no JSON")
    channel = Mock(client=client, sep="\x06\x16", connection_errors=())
    with pytest.raises(ValueError) as raised:
        redis.Channel._brpop_read(channel)
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    (found,) = [frame.f_locals for frame in frames if frame.f_code.co_name == "_brpop_read"]
    assert (found["dest"], found["item"]) == ("celery", b"no JSON")


def test_a_channel_is_read_by_its_handlers() -> None:
    """agentq/runtime/entry/consumer.py puts its own function around the one for BRPOP."""
    read = Mock(return_value=True)
    channel = Mock(handlers={"BRPOP": read}, **{"qos.can_consume.return_value": True})
    poller = redis.MultiChannelPoller()
    poller._fd_to_chan[7] = (channel, "BRPOP")
    poller.on_readable(7)
    read.assert_called_once_with()
    assert "self.handlers = {'BRPOP': self._brpop_read" in inspect.getsource(redis.Channel.__init__)


@contextmanager
def connected() -> Iterator[Any]:
    with Connection("memory://", transport_options={"interval_start": 5}) as connection:
        yield connection


def test_a_connection_knows_the_queues_that_it_declared() -> None:
    """agentq/runtime/dispatch/dispatcher.py has no queue declared twice."""
    queue = Queue("declared")
    with connected() as connection, connection.Producer() as producer:
        assert hash(queue) not in connection.declared_entities
        producer.publish("…", routing_key=queue.name, declare=[queue])
        assert hash(Queue("declared")) in connection.declared_entities


def test_the_first_use_of_a_connection_is_as_patient_as_its_transport_options_say() -> None:
    """agentq/runtime/dispatch/dispatcher.py changes them for one reconnect."""
    with connected() as connection:
        retry_options = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
        connection.transport_options.update(retry_options)
        connection._ensure_connection = Mock(wraps=connection._ensure_connection)
        assert connection.default_channel is not None
        assert retry_options.items() <= connection._ensure_connection.call_args.kwargs.items()


def test_a_batch_publishes_all_when_it_ends() -> None:
    """agentq/runtime/dispatch/dispatcher.py publishes many messages in one."""
    queue = Queue("batched")
    with connected() as connection, connection.Producer() as producer:
        with producer.batch():
            for _ in range(2):
                producer.publish("…", routing_key=queue.name, declare=[queue])
        assert queue(connection.default_channel).queue_declare(passive=True).message_count == 2


def test_the_timers_of_the_event_loop_can_be_fired_by_hand() -> None:
    """agentq/runtime/bridge/asyncio_pool.py lets the connection's heartbeats go on while it stops."""
    before, hub = get_event_loop(), Hub()
    set_event_loop(hub)
    try:
        done = Mock()
        hub.call_later(0, done)
        get_event_loop().fire_timers()
        done.assert_called_once_with()
    finally:
        set_event_loop(before)
        hub.close()


def test_a_message_says_how_it_was_delivered() -> None:
    """agentq/runtime/entry/consumer.py and bridge/redis_transport.py read the headers of any message."""
    raw = {"body": "", "properties": {"delivery_tag": "1", "delivery_info": {}}, "headers": {"agentq": 5}}
    message = virtual.Message(raw, channel=SimpleNamespace(decode_body=lambda body, _: body))
    assert message.headers == {"agentq": 5}
    assert message.delivery_tag == "1"
