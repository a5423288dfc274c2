"""Brokers to break: a Redis of each test's own, and one RabbitMQ node for all these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Broker
from tests.support.rabbitmq_node import Node, rabbitmq_node


@pytest.fixture(scope="package")
def running_node() -> Iterator[Node]:
    """A RabbitMQ node of these tests' own."""
    with rabbitmq_node() as node:
        yield node


@pytest.fixture
def own_rabbitmq(running_node: Node) -> Node:
    """The node, up, with a queue that no other test used; the test may stop it, kill it and start it."""
    running_node.fresh_queue()
    if not running_node.is_up:  # a test that failed left it so
        running_node.start()
    return running_node


@pytest.fixture(params=["redis", "rabbitmq"])
def own_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker that the test may stop, kill and start: one of each kind."""
    broker: Broker = request.getfixturevalue({"redis": "redis_broker", "rabbitmq": "own_rabbitmq"}[request.param])
    return broker


@pytest.fixture(params=["redis", "rabbitmq"])
def any_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker of each kind, not to be stopped; its queue is the test's own."""
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    return broker
