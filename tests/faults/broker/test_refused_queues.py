"""A queue that the broker refuses, a channel that it closes: the worker lives on, and the others do not wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from kombu.connection import Connection

from agentq.runtime.dispatch.broker_state import address_of, refusal
from tests.cli.program import Program
from tests.faults.broker.shared import on_sqlite, worker_of
from tests.runtime.queries import job_of, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.rabbitmq_node import Node
from tests.support.steps import add, meet


@on_sqlite
def test_a_queue_with_other_arguments_holds_up_no_other(
    rabbitmq_broker: Broker, ledger_url: str, tmp_path: Path
) -> None:
    odd = f"{rabbitmq_broker.queue}-odd"
    queues = f"{odd},{rabbitmq_broker.queue}"
    with Connection(rabbitmq_broker.url) as connection, connection.channel() as channel:
        channel.queue_declare(queue=odd, durable=True, auto_delete=False, arguments={"x-max-priority": 5})
        try:
            with (
                client(rabbitmq_broker, ledger_url) as agentq,
                worker_of(rabbitmq_broker, ledger_url, queues=queues) as worker,
            ):
                held = agentq.start(add.s(1, 1).set(queue=odd))
                refused = agentq.dispatcher.broker.refused
                assert "other arguments" in refused[odd]
                assert "delete" in refused[odd]
                assert "other arguments" in str(refusal(connection, agentq.app.amqp.queues, odd))
                assert refusal(connection, agentq.app.amqp.queues, f"{odd}-none") is None
                started = agentq.start_many([add.s(1, 1).set(queue=odd), add.s(2, 2)])
                assert started[1].result(20) == 4
                assert worker.is_alive
                assert worker.log().count("cannot be declared") == 1
                env = {
                    "AGENTQ_LEDGER": ledger_url,
                    "CELERY_BROKER_URL": rabbitmq_broker.url,
                    "AGENTQ_TEST_QUEUE": "x",
                }
                shown = Program(tmp_path, env).text(
                    "-A", "tests.support.project", "jobs", "show", str(job_of(held).id)
                )
                assert f"queue '{odd}' cannot be declared (PreconditionFailed" in shown
                channel.queue_delete(odd)
                eventually(lambda: agentq.dispatcher.takes(odd), what="a queue that is taken again")
                assert job_of(held).attempt == 0
        finally:
            channel.queue_delete(odd)


@on_sqlite
def test_the_acknowledgement_timeout_of_rabbitmq_ends_no_worker(
    own_rabbitmq: Node, ledger_url: str, gates: Gates
) -> None:
    own_rabbitmq.evaluate("application:set_env(rabbit, consumer_timeout, 2000).")
    own_rabbitmq.evaluate("application:set_env(rabbit, channel_tick_interval, 500).")
    with client(own_rabbitmq, ledger_url) as agentq, worker_of(own_rabbitmq, ledger_url, 2) as worker:
        long = agentq.start(meet.s(1, str(gates.folder), "gate"))
        gates.await_reached("gate")
        eventually(lambda: "PreconditionFailed" in worker.log(), 60, what="the acknowledgement timeout")
        assert agentq.start(add.s(1, 1)).result(20) == 2
        gates.open("gate")
        assert long.result(20) == 1
        assert job_of(long).attempt == 1
        assert worker.is_alive
        require_sound(agentq)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost:6379/0", "redis://:**@localhost:6379/0"),
        ("amqp://guest:guest@localhost//", "amqp://guest:**@localhost:5672//"),
    ],
)
def test_an_address_masks_a_password_where_there_is_one(url: str, shown: str) -> None:
    assert address_of(Connection(url)) == shown


@on_sqlite
def test_a_queue_that_is_deleted_is_declared_again(rabbitmq_broker: Broker, ledger_url: str) -> None:
    with (
        client(rabbitmq_broker, ledger_url) as agentq,
        worker_of(rabbitmq_broker, ledger_url) as worker,
        Connection(rabbitmq_broker.url) as connection,
    ):
        assert agentq.start(add.s(1, 1)).result(20) == 2
        connection.default_channel.queue_delete(rabbitmq_broker.queue)
        assert agentq.start(add.s(1, 2) | add.s(3)).result(30) == 6
        assert worker.is_alive
