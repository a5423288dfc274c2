"""Code that leans on the insides of other packages is in named files, and each place is held by a contract test.

A new touch fails here: use the library's public way; where there is none, keep the touch in a file that has some
already, add a contract test beside this file, and enter both in the table.
"""

from __future__ import annotations

import pytest

from tests.contracts.touches import touches, touches_of

TOUCHES = {
    "agentq/contrib/django/flush_in_tests.py": {"django.test.utils._TestState"},
    "agentq/contrib/flask/current.py": {"._set_current_app", "._tls", "celery._state"},
    "agentq/ledger/db/driver.py": {"psycopg.waiting.Wait"},
    "agentq/ledger/db/postgresql.py": {".dbapi_connection"},
    "agentq/ledger/db/statement.py": {
        ".dbapi_connection",
        ".do_execute",
        ".do_executemany",
        ".is_disconnect",
        ".positiontup",
        "sqlalchemy.sql.visitors",
    },
    "agentq/runtime/attempt/plain_tasks.py": {".push_request"},
    "agentq/runtime/bridge/asyncio_pool.py": {
        "._state",
        "billiard.einfo.ExceptionInfo",
        "celery.concurrency.base.BasePool",
        "celery.utils.threads.USE_FAST_LOCALS",
        "kombu.asynchronous.get_event_loop",
    },
    "agentq/runtime/bridge/configuration.py": {".override_backends ="},
    "agentq/runtime/bridge/connections.py": {".connection_for_read =", ".connection_for_write ="},
    "agentq/runtime/bridge/loop.py": {".f_locals"},
    "agentq/runtime/bridge/no_results.py": {"._is_disabled"},
    "agentq/runtime/bridge/pool_limits.py": {".consume_from"},
    "agentq/runtime/bridge/pool_signals.py": {
        ".TERM_SIGNAL =",
        "._shutdown_cleanup",
        ".terminate_job =",
        "billiard.common",
        "billiard.pool",
        "billiard.popen_fork",
    },
    "agentq/runtime/bridge/redis_transport.py": {
        "._connparams",
        "._create_client",
        "._delivered",
        "._has_queue",
        "._restore",
        "._size",
        "TRANSPORT_ALIASES[] =",
        "kombu.transport.TRANSPORT_ALIASES",
        "kombu.transport.redis",
        "kombu.transport.virtual",
    },
    "agentq/runtime/caretaker/bootstep.py": {".select_add", "Panel.data[] =", "celery.worker.control.Panel"},
    "agentq/runtime/caretaker/duties.py": {"celery.worker.state"},
    "agentq/runtime/caretaker/knowledge.py": {".consume_from"},
    "agentq/runtime/caretaker/lost_messages.py": {".request_dict"},
    "agentq/runtime/caretaker/reserved.py": {".request_dict", "celery.worker.state"},
    "agentq/runtime/dispatch/dispatcher.py": {".declared_entities", ".send_task_message", ".transport_options"},
    "agentq/runtime/dispatch/message.py": {"celery.app.amqp.task_message"},
    "agentq/runtime/entry/consumer.py": {".consumer_cls =", ".f_locals", "celery.worker.consumer.consumer"},
    "agentq/runtime/entry/native_canvas.py": {
        ".apply_async =",
        "celery.canvas._basemap",
        "celery.canvas._chain",
        "celery.canvas._chord",
    },
    "agentq/runtime/entry/queues.py": {".TaskConsumer =", ".consume_from", "celery.worker.state.maybe_shutdown"},
    "agentq/runtime/entry/refused_methods.py": {"setattr(Task)"},
    "agentq/runtime/entry/request.py": {
        "._already_cancelled",
        "celery.worker.request.Request",
        "celery.worker.state.revoked",
    },
    "agentq/runtime/entry/revokes.py": {".control_cls ="},
    "agentq/runtime/entry/self_retry.py": {".retry ="},
    "agentq/runtime/entry/task.py": {".agentq_entered ="},
    "agentq/runtime/log/greeting.py": {".consume_from"},
    "agentq/runtime/log/outage.py": {"billiard.process.current_process"},
    "agentq/testing/mailbox.py": {"celery.app.trace.build_tracer"},
    "agentq/testing/private.py": {"._producer_pool"},
    "agentq/testing/swaps.py": {"._set_current_app", "._tls", "celery._state"},
}
"""Each file with what it touches: modules, attributes, assignments, and private names that a class overrides."""


def test_the_insides_of_other_packages_are_touched_in_named_files_only() -> None:
    assert touches() == TOUCHES


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from celery import _state", "celery._state"),
        ("from celery.worker import state", "celery.worker.state"),
        ("from celery import Task\nTask.retry = None", ".retry ="),
        ("from celery import Task\nsetattr(Task, 'retry', None)", "setattr(Task)"),
        ("from celery import Celery\ndef patch(app):\n    app.send_task = None", ".send_task ="),
        ("from celery.worker.control import Panel\nPanel.data['revoke'] = None", "Panel.data[] ="),
        ("def look(app):\n    return app._pool", "._pool"),
        ("import celery\nclass Own:\n    _pool = 1\ncelery.current_app._pool", "._pool"),
        ("from celery import Task\nclass Own(Task):\n    def _get_app(self): ...", "._get_app"),
        ("def look(connection):\n    return connection.declared_entities", ".declared_entities"),
    ],
)
def test_a_touch_is_found(source: str, found: str) -> None:
    assert found in touches_of(source)


@pytest.mark.parametrize(
    "source",
    [
        "from celery import Celery\nclass Own:\n    def __init__(self):\n        self._app = Celery()",
        "from sqlalchemy import select\ndef read(row):\n    return row._mapping",
        "from celery import Celery\ndef choose(app):\n    app.conf.broker_url = 'redis://'",
    ],
)
def test_what_is_agentqs_own_or_public_is_no_touch(source: str) -> None:
    assert touches_of(source) == set()
