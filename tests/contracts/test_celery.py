"""Celery's insides that agentq leans on: each test fails when they change, and says who leans on them."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from billiard.einfo import ExceptionInfo
from billiard.pool import Pool as BilliardPool
from celery import Celery, _state, chain, chord, group, signals
from celery.app.amqp import task_message
from celery.app.control import Control
from celery.app.task import Task
from celery.app.trace import build_tracer
from celery.backends.base import DisabledBackend
from celery.canvas import _basemap, _chain, _chord, chunks, xmap, xstarmap
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool
from celery.exceptions import Retry, Terminated
from celery.utils.threads import USE_FAST_LOCALS
from celery.worker import components, state
from celery.worker.consumer import Consumer, Tasks
from celery.worker.consumer import consumer as consumer_module
from celery.worker.control import Panel
from celery.worker.request import Request
from celery.worker.state import maybe_shutdown
from kombu import Queue


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("contracts", broker="memory://", set_as_current=False) as found:
        yield found


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def request_of(app: Celery, **headers: Any) -> Request:
    @app.task(shared=False, name="contracts.task")
    def task() -> None: ...

    message = Mock(
        headers={"id": "1", "task": "contracts.task", **headers},
        payload=((), {}, {}),
        properties={},
        delivery_info={"routing_key": "celery"},
    )
    return Request(message, app=app, task=app.tasks["contracts.task"], eventer=Mock(enabled=True))


def test_the_current_app_of_a_thread_is_put_back_as_it_was(app: Celery) -> None:
    """agentq/contrib/flask/current.py, agentq/testing/swaps.py: what was current before, which may be no app."""
    before = _state._tls.current_app
    _state._set_current_app(app)
    try:
        assert _state._tls.current_app is app
        assert _state.get_current_app() is app
        _state._set_current_app(None)
        assert _state._tls.current_app is None
    finally:
        _state._set_current_app(before)


def test_the_default_app_is_what_a_thread_without_a_current_app_finds(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """agentq/testing/swaps.py replaces it for the time of a test."""
    before = _state._tls.current_app
    monkeypatch.setattr(_state, "default_app", app)
    _state._set_current_app(None)
    try:
        assert _state.get_current_app() is app
    finally:
        _state._set_current_app(before)


def test_connections_that_publish_are_made_by_the_method_of_the_app_itself(app: Celery) -> None:
    """agentq/runtime/bridge/connections.py replaces it there, so that time-outs reach the pool of producers."""
    native = app.connection_for_write

    def connect(*args: Any, **kwargs: Any) -> Any:
        return native(*args, transport_options={"answer": 1}, **kwargs)

    app.connection_for_write = connect
    with app.producer_or_acquire() as producer:
        assert producer.connection.transport_options == {"answer": 1}


def test_a_worker_consumes_by_the_connection_of_the_app_itself(app: Celery) -> None:
    """agentq/runtime/bridge/connections.py starts the embedded broker before that."""
    app.connection_for_read = Mock(wraps=app.connection_for_read)
    made = Consumer(Mock(), app=app, pool=Mock(), timer=Mock(), controller=Mock(), hub=None)
    assert made.conninfo is not None
    app.connection_for_read.assert_called()


def test_an_app_without_its_pools_connects_anew(app: Celery) -> None:
    """agentq/testing/private.py sets both to None for an app that is to use another broker."""
    pool, producers = app.pool, app.amqp.producer_pool
    app.conf.broker_url = "memory://other"
    app._pool = app.amqp._producer_pool = None
    assert app.pool is not pool
    assert app.amqp.producer_pool is not producers


def test_a_message_is_published_with_the_headers_that_were_built_by_hand(app: Celery) -> None:
    """agentq/runtime/dispatch/dispatcher.py builds it: with fewer headers, and ``declare`` saves a look."""
    message = task_message(
        headers={"id": "1", "task": "t"}, properties={"correlation_id": "1"}, body=((), {}, {}), sent_event=None
    )
    assert list(message._fields) == ["headers", "properties", "body", "sent_event"]
    producer = Mock()
    app.amqp.send_task_message(
        producer,
        "t",
        message,
        queue="celery",
        declare=(),
        retry=False,
        retry_policy={"max_retries": 1},
        priority=3,
    )
    (body,), options = producer.publish.call_args
    assert body == ((), {}, {})
    assert options["headers"] == {"id": "1", "task": "t"}
    assert (options["declare"], options["retry"], options["priority"]) == ((), False, 3)
    assert options["retry_policy"]["max_retries"] == 1
    assert (options["correlation_id"], options["routing_key"]) == ("1", "celery")


def test_without_more_words_the_queue_of_a_message_is_declared(app: Celery) -> None:
    """agentq/runtime/dispatch/dispatcher.py gives ``declare=()`` for queues that are declared."""
    producer = Mock()
    app.amqp.send_task_message(producer, "t", task_message({}, {}, ((), {}, {}), None), queue="q", retry=False)
    assert producer.publish.call_args.kwargs["declare"] == [app.amqp.queues["q"]]


def test_a_route_names_the_queue_and_what_is_consumed_are_the_selected_queues(app: Celery) -> None:
    """agentq/runtime/catalogue.py, caretaker/knowledge.py, entry/queues.py, bridge/pool_limits.py and others."""
    app.conf.task_routes = {"t": {"queue": "llm"}}
    route = app.amqp.router.route({}, "t", [], {})
    assert getattr(route["queue"], "name", route["queue"]) == "llm"
    app.amqp.queues.select(["llm"])
    app.amqp.queues.select_add("more")
    assert set(app.amqp.queues.consume_from) == {"llm", "more"}
    assert all(isinstance(queue, Queue) for queue in app.amqp.queues.consume_from.values())


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (_chain, lambda part: chain(part, part)),
        (group, lambda part: group(part, part)),
        (_chord, lambda part: chord([part, part], part)),
        (_basemap, lambda part: xmap(part, [1])),
        (_basemap, lambda part: xstarmap(part, [(1,)])),
        (chunks, lambda part: chunks(part, [(1,)], 1)),
    ],
)
def test_a_canvas_is_sent_by_the_method_of_its_class(app: Celery, kind: Any, made: Any) -> None:
    """agentq/runtime/start/starts.py replaces it, for canvases that hold steps."""
    assert parameters(kind.apply_async)[:3] == ["self", "args", "kwargs"]
    canvas = made(app.signature("t", (1,)))
    assert isinstance(canvas, kind)
    assert type(canvas).apply_async is kind.apply_async
    assert hasattr(canvas, "_app")


def test_methods_of_all_tasks_are_those_of_celerys_task_class(app: Celery) -> None:
    """agentq/runtime/entry/self_retry.py and refused_methods.py replace them there."""

    @app.task(shared=False)
    def task() -> None: ...

    assert parameters(Task.retry)[:4] == ["self", "args", "kwargs", "exc"]
    assert parameters(Task.replace) == ["self", "sig"]
    assert parameters(Task.add_to_chord) == ["self", "sig", "lazy"]
    kind = type(app.tasks[task.name])
    assert all(getattr(kind, name) is getattr(Task, name) for name in ("retry", "replace", "add_to_chord"))


def test_a_task_whose_request_is_eager_raises_its_retry_and_publishes_nothing(app: Celery) -> None:
    """agentq/runtime/attempt/plain_tasks.py pushes such a request for the plain task of a job."""

    @app.task(shared=False, bind=True)
    def task(self: Any) -> None: ...

    task.push_request(args=[], kwargs={}, id="1", called_directly=False, is_eager=True, retries=0, agentq_job=True)
    try:
        assert task.request.agentq_job
        with pytest.raises(Retry) as raised:
            task.retry(countdown=3, throw=True)
        assert raised.value.when == 3
    finally:
        task.pop_request()


def test_the_function_behind_an_autoretry_is_found(app: Celery) -> None:
    """agentq/testing/swaps.py puts a mock in its place."""

    @app.task(shared=False, autoretry_for=(ValueError,))
    def task() -> str:
        return "native"

    task._orig_run = lambda: "mock"
    assert task() == "mock"


def test_a_tracer_runs_a_task_by_its_id_and_request(app: Celery) -> None:
    """agentq/testing/mailbox.py delivers messages by it."""

    @app.task(shared=False, bind=True, ignore_result=True)
    def task(self: Any, one: int) -> list[Any]:
        return [self.request.id, self.request.agentq, one]

    tracer = build_tracer(task.name, task, app=app, eager=True)
    returned = tracer("1", (7,), {}, {"id": "1", "task": task.name, "agentq": 5, "retries": 0})
    assert returned.retval == ["1", 5, 7]


def test_every_question_to_a_missing_result_backend_is_refused_by_one_method() -> None:
    """agentq/runtime/bridge/no_results.py overrides them all."""
    assert parameters(DisabledBackend._is_disabled) == ["self", "args", "kwargs"]
    for name in ("get_state", "get_result", "get_task_meta_for", "wait_for", "get_many"):
        assert getattr(DisabledBackend, name) is DisabledBackend._is_disabled


def test_the_backend_without_results_is_chosen_by_the_loader() -> None:
    """agentq/runtime/bridge/configuration.py gives the loader another one under the same name."""
    app = Celery("contracts", broker="memory://", set_as_current=False)
    app.loader.override_backends = {"disabled": f"{__name__}:Backend", **app.loader.override_backends}
    assert isinstance(app.backend, Backend)


class Backend(DisabledBackend):
    pass


@pytest.mark.parametrize("command", ["revoke", "terminate"])
def test_a_revoke_is_a_broadcast_of_the_apps_own_control(app: Celery, command: str) -> None:
    """agentq/runtime/entry/revokes.py gives the app a class of its own."""
    commands = []

    class Told(Control):
        def broadcast(self, command: str, arguments: Any = None, *args: Any, **options: Any) -> None:
            commands.append((command, {**(arguments or {}), **options}))

    app.control_cls = Told
    vars(app).pop("control", None)
    getattr(app.control, command)("1")
    ((sent, arguments),) = commands
    assert sent == "revoke"
    assert (arguments["task_id"], bool(arguments["terminate"])) == ("1", command == "terminate")


def test_a_worker_looks_for_the_command_in_the_panel() -> None:
    """agentq/runtime/caretaker/bootstep.py replaces it there."""
    assert parameters(Panel.data["revoke"])[:3] == ["state", "task_id", "terminate"]


def test_the_consumer_of_a_worker_is_made_last_and_of_the_class_that_the_worker_names() -> None:
    """agentq/runtime/entry/consumer.py names a class of its own before that."""
    assert components.Consumer.last
    assert "w.consumer_cls" in inspect.getsource(components.Consumer.create)


def test_a_consumer_asks_itself_for_all_that_agentq_overrides(app: Celery) -> None:
    """agentq/runtime/entry/consumer.py overrides them; entry/queues.py replaces the app's ``TaskConsumer``."""
    assert parameters(Consumer.on_decode_error) == ["self", "message", "exc"]
    assert parameters(Consumer.on_connection_error_after_connected) == ["self", "exc"]
    assert parameters(Consumer.on_send_event_buffered) == ["self"]
    assert "self" in parameters(Consumer.create_task_handler)
    consumer = Mock()
    consumer.connection.transport.driver_type = "memory"
    consumer.app.conf.worker_detect_quorum_queues = consumer.app.conf.worker_disable_prefetch = False
    consumer.app.conf.worker_eta_task_limit = None
    Tasks(consumer).start(consumer)
    consumer.app.amqp.TaskConsumer.assert_called_once_with(
        consumer.connection, on_decode_error=consumer.on_decode_error
    )


def test_a_message_that_cannot_be_read_raises_where_the_handler_is_called(app: Celery) -> None:
    """agentq/runtime/entry/consumer.py puts its own handler around the one that is created."""
    consumer = Mock(spec=Consumer, strategies={}, on_task_message=set())
    for name in ("on_unknown_message", "on_unknown_task", "on_invalid_task", "call_soon_ack"):
        setattr(consumer, name, Mock())
    handle = Consumer.create_task_handler(consumer)
    with pytest.raises(TypeError):
        handle(Mock(headers={"task": ["no", "text"]}))


def test_the_reports_of_refused_messages_have_texts_of_their_own() -> None:
    """agentq/runtime/entry/consumer.py leaves these lines out of the log, as it has said the same in one."""
    source = inspect.getsource(consumer_module)
    for name in ("INVALID_TASK_ERROR", "MESSAGE_DECODE_ERROR", "UNKNOWN_FORMAT", "UNKNOWN_TASK_ERROR"):
        assert isinstance(getattr(consumer_module, name), str)
        assert f"({name}," in source, f"{name} is logged with its values, not formatted before"


def test_a_workers_reserved_messages_are_in_two_sets_of_requests(app: Celery) -> None:
    """agentq/runtime/caretaker/reserved.py and duties.py, entry/request.py and queues.py read them."""
    request = request_of(app)
    state.task_reserved(request)
    try:
        assert request in state.reserved_requests
        assert request not in state.active_requests
        state.task_accepted(request)
        assert request in state.active_requests
    finally:
        state.task_ready(request)
    assert request not in state.reserved_requests
    assert request not in state.active_requests
    assert state.should_terminate is None
    assert "1" not in state.revoked
    maybe_shutdown()  # which ends a worker that is to stop, and this is none


def test_a_request_has_the_headers_of_its_message(app: Celery) -> None:
    """agentq/runtime/caretaker/reserved.py and lost_messages.py read them."""
    request = request_of(app, agentq=5)
    assert request.request_dict["agentq"] == 5
    assert request.delivery_info["routing_key"] == "celery"


def test_the_methods_of_a_request_are_called_with_what_agentq_expects() -> None:
    """agentq/runtime/entry/request.py overrides them."""
    assert parameters(Request.on_timeout) == ["self", "soft", "timeout"]
    assert parameters(Request.on_failure) == ["self", "exc_info", "send_failed_event", "return_ok"]
    assert parameters(Request.cancel) == ["self", "pool", "signal", "emit_retry"]


def test_a_revoke_is_signalled_with_task_and_id_and_is_remembered_by_then(app: Celery) -> None:
    """agentq/runtime/request.py listens."""
    told = []

    def listen(sender: Any, request: Any, **_: Any) -> None:
        told.append((sender.name, request.id, request.id in state.revoked))

    request = request_of(app)
    state.revoked.add(request.id)
    signals.task_revoked.connect(listen)
    try:
        assert request.revoked()
    finally:
        signals.task_revoked.disconnect(listen)
        state.revoked.discard(request.id)
    assert told == [("contracts.task", "1", True)]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_request_that_was_cancelled_announces_no_revoke(app: Celery, is_cancelled: bool) -> None:
    """agentq/runtime/entry/request.py notes the cancel before the pool can report the end."""
    request = request_of(app)
    announced = request._announce_revoked = Mock()
    request._already_cancelled = is_cancelled
    try:
        raise Terminated(signal.SIGTERM)
    except Terminated:
        request.on_failure(ExceptionInfo())
    assert announced.called is not is_cancelled


def test_a_pool_is_given_a_job_with_its_callbacks() -> None:
    """agentq/runtime/bridge/asyncio_pool.py is a pool."""
    given: list[Any] = []

    class Pool(BasePool):
        def on_apply(self, target: Any, args: Any, kwargs: Any, **options: Any) -> None:
            given.append((target, args, kwargs, options))

    pool = Pool(3)
    pool.start()
    assert pool._state == pool.RUN
    assert pool.limit == 3
    callbacks = {name: Mock() for name in ("accept_callback", "callback", "error_callback")}
    pool.apply_async(len, ("t", "1", {}), **callbacks)
    ((target, args, kwargs, options),) = given
    assert (target, args, kwargs) == (len, ("t", "1", {}), {})
    assert callbacks.items() <= options.items()
    pool.stop()
    assert pool._state != pool.RUN


def test_jobs_of_one_thread_have_requests_of_their_own() -> None:
    """agentq/runtime/bridge/asyncio_pool.py: greenlets of one thread see their own stack of requests."""
    assert not USE_FAST_LOCALS, "Celery's stack of requests is kept in context variables"


def test_a_job_of_the_prefork_pool_is_terminated_by_its_process(app: Celery) -> None:
    """agentq/runtime/bridge/pool_signals.py puts its own function before this one."""
    assert parameters(BilliardPool.terminate_job) == ["self", "pid", "sig"]
    assert "self.terminate_job = P.terminate_job" in inspect.getsource(TaskPool)
    request, pool = request_of(app), Mock()
    request.time_start, request.worker_pid = 1.0, 4711
    request.terminate(pool, signal="TERM")
    pool.terminate_job.assert_called_once_with(4711, signal.SIGTERM)
