"""The clients of a web process: typed calls and results, our own errors, no wait for a missing broker."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync import AsyncSessionClient, SessionClient
from threadsync.channels import ContextResult
from threadsync.commands import GetOrCreate
from threadsync.errors import (
    CommandFailed,
    EnqueueFailed,
    InvalidCommand,
    InvalidSettings,
    JiraKeyConflict,
    ResultTimeout,
    SessionNotFound,
)
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from worker.local.servers.valkey import EmbeddedValkey

Call = Callable[..., Any]


@pytest.fixture(params=["SessionClient", "AsyncSessionClient"])
async def call(request: pytest.FixtureRequest, shared: Installation) -> AsyncIterator[Call]:
    """Return either client as one function that calls a method and waits for its result."""
    if request.param == "SessionClient":
        with SessionClient(shared.broker_url) as client:

            async def run(method: str, *args: Any, **kwargs: Any) -> Any:
                return getattr(client, method)(*args, **kwargs).get(timeout=15)

            yield run
    else:
        async with AsyncSessionClient(shared.broker_url) as async_client:

            async def run_async(method: str, *args: Any, **kwargs: Any) -> Any:
                handle = await getattr(async_client, method)(*args, **kwargs)
                return await handle.get(timeout=15)

            yield run_async


@pytest.fixture
def thread() -> tuple[str, str]:
    """Return a thread that no other test uses."""
    return f"C{uuid4().hex[:8]}", "1700000000.000100"


async def test_results_are_dtos(call: Call, thread: tuple[str, str]) -> None:
    """Each method returns the model in its annotation, with timezone-aware times."""
    created = await call("get_or_create", *thread, "U1")
    assert type(created) is SessionResult
    assert created.created_at.tzinfo is not None
    assert (await call("update_status", *thread, "ready_to_sync")).outcome == "applied"
    assert (await call("mark_synced", *thread, "PROJ-1")).jira_key == "PROJ-1"
    session = await call("get", *thread)
    assert type(session) is ThreadSession
    assert (session.id, session.status) == (created.id, "synced")
    page = await call("list_by_channel", thread[0], status="synced", limit=1)
    assert page == SessionPage(sessions=(session,), next_cursor=None)


async def test_nothing_is_none(call: Call) -> None:
    """Reading an unknown thread's session or an unknown channel's context returns None."""
    assert await call("get", "C0", "1.1") is None
    assert await call("get_context", "C0") is None


async def test_contexts_are_merged_once_a_command_id(call: Call, thread: tuple[str, str]) -> None:
    """A context patch is merged once per command_id; without one, each call is a new command."""
    channel, command_id = thread[0], uuid4()
    for outcome in ("created", "unchanged"):
        result = await call("merge_context", channel, {"a": {"b": 1}}, command_id)
        assert type(result) is ContextResult
        assert (result.outcome, result.version) == (outcome, 1)
    assert (await call("merge_context", channel, {"a": None})).context_data == {}


async def test_errors_are_our_classes(call: Call, thread: tuple[str, str]) -> None:
    """An error of the worker is raised at the client as the same class, with its attributes."""
    with pytest.raises(SessionNotFound) as missing:
        await call("update_status", *thread, "collecting")
    assert (missing.value.channel_id, missing.value.thread_ts) == thread
    await call("get_or_create", *thread, "U1")
    await call("mark_synced", *thread, "PROJ-1")
    with pytest.raises(JiraKeyConflict, match=r"already synced with PROJ-1; PROJ-2 was refused"):
        await call("mark_synced", *thread, "PROJ-2")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_or_create", ("C1", 1700000000.0001, "U1")),
        ("get_or_create", ("C1", "1.1", "U" * 2**20)),
        ("get_or_create", ("C1", "1.1", "U\x00")),
        ("update_status", ("C1", "1.1", "synced")),
        ("update_status", ("C1", "1.1", "done")),
        ("mark_synced", ("C1", "1.1", "no key")),
        ("list_by_channel", ("C1", None, 0)),
        ("list_by_channel", ("C1", None, 50, "no cursor")),
        ("merge_context", ("C1", {"a": float("nan")})),
        ("merge_context", ("C1", {"a": "x" * 2**20})),
        ("merge_context", ("C1", {}, "no uuid")),
    ],
)
async def test_bad_arguments_fail_before_anything_is_sent(
    installation: Installation, method: str, arguments: tuple[Any, ...]
) -> None:
    """A bad argument raises InvalidCommand at the call, and nothing is sent."""
    with SessionClient(installation.broker_url) as client, pytest.raises(InvalidCommand):
        getattr(client, method)(*arguments)
    async with AsyncSessionClient(installation.broker_url) as async_client:
        with pytest.raises(InvalidCommand):
            await getattr(async_client, method)(*arguments)
    assert installation.waiting() == 0


@pytest.mark.parametrize("arguments", [{"channel": "C1"}, {"channel_id": "C1", "thread_ts": "1.1"}])
async def test_misspelt_and_missing_arguments_fail_at_the_call(call: Call, arguments: dict[str, str]) -> None:
    """A misspelt or missing argument raises TypeError at the call."""
    with pytest.raises(TypeError):
        await call("get_or_create", **arguments)


def test_the_tasks_check_their_arguments_too(shared: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's `delay` refuses misspelt and missing arguments with InvalidCommand."""
    monkeypatch.setenv("CELERY_BROKER_URL", shared.broker_url)
    from tasks.commands import TASKS

    get_or_create = TASKS["sessions.get_or_create"]

    with pytest.raises(InvalidCommand, match="no argument channel; it takes channel_id, thread_ts, user_id"):
        get_or_create.delay(channel="C1", thread_ts="1.1", user_id="U1")
    with pytest.raises(InvalidCommand, match="user_id"):
        get_or_create.delay(channel_id="C1", thread_ts="1.1")


def test_a_task_id_can_be_chosen(shared: Installation) -> None:
    """A caller may choose the task id, so that Slack's event id finds its task."""
    task_id = f"Ev{uuid4().hex}"
    with SessionClient(shared.broker_url) as client:
        handle = client.enqueue(GetOrCreate(channel_id="C1", thread_ts="7.1", user_id="U1"), task_id=task_id)
        assert handle.task_id == task_id
        handle.get(timeout=10)
    assert shared.celery.AsyncResult(task_id).state == "SUCCESS"


def test_an_error_that_is_not_ours_is_command_failed(shared: Installation) -> None:
    """An error of a foreign class is raised at the client as CommandFailed."""
    result = shared.send("probe.unserializable")
    with SessionClient(shared.broker_url) as client:
        wait_until(lambda: shared.celery.AsyncResult(result.id).ready(), "it has failed")
        with pytest.raises(CommandFailed, match="EncodeError"):
            client._broker.result_of(result.id)


async def test_a_result_that_does_not_come_is_a_timeout(installation: Installation) -> None:
    """A result that does not arrive in time raises ResultTimeout, and the command stays enqueued."""
    with SessionClient(installation.broker_url) as client:
        handle = client.get("C1", "1.1")
        began = time.monotonic()
        with pytest.raises(ResultTimeout, match=rf"sessions\.get within 0\.3 s \(task {handle.task_id}\)"):
            handle.get(timeout=0.3)
    async with AsyncSessionClient(installation.broker_url) as async_client:
        async_handle = await async_client.get("C1", "1.1")
        with pytest.raises(ResultTimeout):
            await async_handle.get(timeout=0.3)
    assert time.monotonic() - began < 3
    assert installation.waiting() == 2


def test_results_expire(shared: Installation) -> None:
    """A result expires after an hour unless RESULT_TTL_SECONDS says otherwise."""
    result = shared.send("sessions.get", channel_id="C1", thread_ts="1.1")
    result.get(timeout=10)
    with redis.Redis.from_url(shared.broker_url) as client:
        assert 3500 < int(client.ttl(f"celery-task-meta-{result.id}")) <= 3600


def test_importing_the_client_loads_no_database_driver() -> None:
    """Importing the client loads no psycopg."""
    code = "import sys, threadsync.client; print([name for name in sys.modules if 'psycopg' in name])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_without_a_broker_the_error_says_what_to_set() -> None:
    """A client without a broker URL fails at its constructor with the name of the setting."""
    with pytest.raises(InvalidSettings, match="CELERY_BROKER_URL"):
        SessionClient()


@contextmanager
def refused() -> Iterator[str]:
    """Yield the URL of a port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def silent() -> Iterator[str]:
    """Yield the URL of a server that accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield the URL of a server whose backlog is full: the kernel drops the SYN, as a firewall does."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("away", [refused, silent, black_hole])
async def test_a_broker_that_is_away_is_told_within_a_second(away: Callable[[], Any]) -> None:
    """An unreachable broker raises EnqueueFailed within about a second, also for 30 callers at once."""
    with away() as url, SessionClient(url) as client:
        await asyncio.to_thread(assert_fails_within_a_second, lambda: client.get("C1", "1.1"))
        await asyncio.to_thread(assert_fails_within_a_second, client.ping)
        with ThreadPoolExecutor(30) as crowd:
            calls = [
                crowd.submit(assert_fails_within_a_second, lambda: client.get("C1", "1.1")) for _ in range(30)
            ]
            for one in calls:
                await asyncio.wrap_future(one)
        async with AsyncSessionClient(url) as async_client:
            began = time.monotonic()
            answers = await asyncio.gather(
                *(async_client.get("C1", "1.1") for _ in range(30)), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {EnqueueFailed}
            assert time.monotonic() - began < 1.5


def assert_fails_within_a_second(action: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(EnqueueFailed):
        action()
    # One second is promised; the rest allows for thirty threads on a busy machine.
    assert time.monotonic() - began < 1.3


def test_a_client_survives_its_broker(own_valkey: EmbeddedValkey) -> None:
    """A client works again, in the same process, after its broker was frozen or killed and restarted."""
    with SessionClient(own_valkey.url) as client:
        client.get("C1", "1.1")
        assert own_valkey.pid is not None
        os.kill(own_valkey.pid, signal.SIGSTOP)
        assert_fails_within_a_second(lambda: client.get("C1", "1.1"))
        os.kill(own_valkey.pid, signal.SIGCONT)
        wait_until(lambda: is_enqueued(client), "it goes on")
        own_valkey.kill()
        assert_fails_within_a_second(lambda: client.get("C1", "1.1"))
        own_valkey.start()
        assert is_enqueued(client)


def is_enqueued(client: SessionClient) -> bool:
    try:
        client.get("C1", "1.1")
    except EnqueueFailed:
        return False
    return True


def test_a_command_costs_a_push_and_an_event(
    own_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending a command costs one LPUSH and one PUBLISH, with no subscription to the result."""
    monkeypatch.setenv("CELERY_RESULT_BACKEND", own_valkey.url)
    with redis.Redis.from_url(own_valkey.url) as server, SessionClient(own_valkey.url) as client:
        client.get("C1", "1.1")
        server.config_resetstat()
        client.get("C1", "1.1")
        calls = {name: facts["calls"] for name, facts in server.info("commandstats").items()}
    calls.pop("cmdstat_config|resetstat")
    assert calls == {"cmdstat_lpush": 1, "cmdstat_publish": 1}


def test_a_client_works_after_a_fork(broker_url: str) -> None:
    """A client that was used before a fork works in the child and in the parent."""
    with SessionClient(broker_url) as client:
        client.ping()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.get("C1", "1.1")
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.get("C1", "1.1")


def test_a_full_broker_is_told(own_valkey: EmbeddedValkey) -> None:
    """A broker at its memory limit makes the client raise EnqueueFailed with the cause."""
    with redis.Redis.from_url(own_valkey.url) as administrator, SessionClient(own_valkey.url) as client:
        client.get("C1", "1.1")
        administrator.config_set("maxmemory", "1mb")
        with pytest.raises(EnqueueFailed, match="maxmemory"):
            client.get("C1", "1.1")


def test_a_key_prefix_is_for_everything(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client, worker and results use the configured key prefix for every key."""
    options = '{"global_keyprefix": "ts:"}'
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", options)
    with (
        installation.worker(CELERY_BROKER_TRANSPORT_OPTIONS=options),
        SessionClient(installation.broker_url) as client,
        redis.Redis.from_url(installation.broker_url, decode_responses=True) as server,
    ):
        handles = [client.get_or_create("C1", f"{number}.1", "U1") for number in range(20)]
        assert {handle.get(timeout=15).outcome for handle in handles} == {"created"}
        keys = server.keys("*")
    assert keys
    assert [key for key in keys if not key.startswith("ts:")] == []
