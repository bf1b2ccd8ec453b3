"""Limits of every read, write and wait: the blocking calls that we reach, and the bound of each.

The tables name every function of kombu's Redis transport and of redis-py's subscriptions and sentinels that
waits. A new one fails here until its bound is written down. Real peers freeze in tests/long/test_frozen.py.
"""

from __future__ import annotations

import ast
import inspect
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import redis
from kombu import mixins, pidbox
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from redis import client as redis_client
from redis import sentinel as redis_sentinel

from threadsync.config import Settings
from threadsync.sending import Broker
from worker.celery import configuration
from worker.durable.connection import DurableConnection
from worker.durable.limits import RESULT_SECONDS, SOFT_TIME_LIMIT_SECONDS, TIME_LIMIT_SECONDS
from worker.durable.results import WorkersCelery

ROOT: Final = Path(__file__).parent.parent.parent
OURS: Final = ("worker", "tasks", "handlers", "console")

POOL = "the pool's socket_timeout and socket_connect_timeout"
WORKERS = "socket_timeout of the worker's transport options; asked when the event loop sees something to read"
LISTENER = "worker/durable/channel.py `subclient`: a second for the rest of a message"
NOT_OURS = "replaced by ours, or not called with ours"

KOMBU: Final[dict[str, dict[str, str]]] = {
    "kombu.transport.redis": {
        "GlobalKeyPrefixMixin.execute_command": POOL,
        "GlobalKeyPrefixMixin.parse_response": WORKERS,
        "PrefixedRedisPubSub.execute_command": POOL,
        "PrefixedRedisPubSub.parse_response": LISTENER,
        "QoS.append": NOT_OURS,
        "QoS.ack": NOT_OURS,
        "QoS.reject": NOT_OURS,
        "Mutex": NOT_OURS,
        "_socket_readable": "asked with a time-out of zero",
        "MultiChannelPoller._register": POOL,
        "MultiChannelPoller._client_registered": POOL,
        "MultiChannelPoller.get": "its caller's time-out: a second in Flower, at most one in an event loop",
        "PublishBatch.flush": POOL,
        "Channel._subscribe": POOL,
        "Channel._receive": "asked with a time-out of zero",
        "Channel._receive_one": LISTENER,
        "Channel._poll_error": LISTENER,
        "Channel._brpop_start": NOT_OURS,
        "Channel._brpop_read": NOT_OURS,
        "Channel._size": POOL,
        "Channel._put": POOL,
        "Channel._queue_bind": POOL,
        "Channel._refresh_bindings": POOL,
        "Channel._maybe_update_queues_expire": POOL,
        "Channel._delete": POOL,
        "Channel._has_queue": POOL,
        "Channel._purge": POOL,
    },
    "kombu.pidbox": {
        "Mailbox.producer_or_acquire": "a pool of ten, of which a process takes one at a time",
        "Mailbox._collect": "the time-out of the question, such as that of `celery inspect`",
    },
    "kombu.mixins": {"ConsumerMixin.consume": "a second, again and again: Flower's thread is a daemon"},
    "redis.sentinel": {
        "SentinelManagedConnection.read_response": POOL,
        "Sentinel.execute_command": "threadsync/broker/in_step.py `sentinel_limits`",
        "Sentinel.discover_master": "threadsync/broker/in_step.py `sentinel_limits`",
    },
    "redis.client": {"PubSub.parse_response": LISTENER, "PubSub.get_message": LISTENER},
}
WAITS: Final = frozenset(
    {
        *("parse_response", "read_response", "get_message", "can_read", "recv", "select", "poll"),
        *("get_connection", "acquire", "connect", "drain_events", "read_frame"),
        *("send_command", "execute_command", "execute", "sentinel_masters", "wait"),
    }
)


def waiting_functions(module: ModuleType, within: str = "") -> set[str]:
    """Return the functions that call, on something, a method that may wait."""
    found: set[str] = set()

    def look(node: ast.AST, path: list[str]) -> None:
        for child in ast.iter_child_nodes(node):
            deeper = [*path, child.name] if isinstance(child, ast.FunctionDef | ast.ClassDef) else path
            if isinstance(child, ast.Call) and getattr(child.func, "attr", "") in WAITS:
                found.add(".".join(deeper[:2]))
            look(child, deeper)

    look(ast.parse(inspect.getsource(module)), [])
    return {name for name in found if name.startswith(within)}


@pytest.mark.parametrize(
    ("module", "within"),
    [
        (kombu_redis, ""),
        (pidbox, ""),
        (mixins, "ConsumerMixin.consume"),
        (redis_sentinel, "Sentinel"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_function_that_waits_has_its_bound(module: ModuleType, within: str) -> None:
    """Each function that may wait is in the table; a new one must be judged before it hangs a worker."""
    assert waiting_functions(module, within) == set(KOMBU[module.__name__])


def test_a_subscription_blocks_for_ever_unless_told_otherwise() -> None:
    """A subscription of redis-py takes the limit off its socket, which is why ours sets one."""
    source = inspect.getsource(redis_client.PubSub.parse_response)
    assert "read_timeout = None" in source


@pytest.mark.parametrize(
    "url",
    ["redis://h", "rediss://h", "redis+socket:///s", "sentinel://h:1;sentinel://i:1"],
)
def test_every_connection_of_a_worker_has_its_limits(url: str) -> None:
    """Every connection of a worker has its limits, and results fit between the two time limits."""
    settings = Settings(celery_broker_url=url)
    conf = configuration(settings)
    assert 0 < conf["broker_transport_options"]["socket_timeout"] < TIME_LIMIT_SECONDS
    assert 0 < conf["broker_transport_options"]["socket_connect_timeout"] < TIME_LIMIT_SECONDS
    assert conf["redis_socket_timeout"] == conf["redis_socket_connect_timeout"] == RESULT_SECONDS
    assert conf["result_backend_transport_options"]["retry_policy"]["timeout"] == RESULT_SECONDS
    assert SOFT_TIME_LIMIT_SECONDS + RESULT_SECONDS < TIME_LIMIT_SECONDS


def test_who_only_listens_hears_that_the_other_side_is_gone() -> None:
    """A connection that only listens, such as Flower's, has keepalives that end it within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        options = configuration(Settings(celery_broker_url=url))["broker_transport_options"]
        channel: Any = object.__new__(_transport(DurableConnection("redis://h")).Channel)
        channel.connection = DurableConnection(url, transport_options=options).transport
        channel.__dict__.update({name: options[name] for name in options if name.startswith("socket_")})
        params = channel._connparams()
        made = params.pop("connection_class")(
            **{
                name: params[name]
                for name in ("host", "port", "socket_keepalive", "socket_keepalive_options")
            }
        )
        connected = made._connect()
        with connected:
            idle, pause, count = (
                connected.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert idle + pause * count < 15


@pytest.mark.parametrize("given", [{}, {"password": "of the sentinels"}])
def test_sentinels_are_asked_within_a_limit(given: dict[str, str]) -> None:
    """Sentinels are asked within a limit, also where ``sentinel_kwargs`` are given."""
    options = {"master_name": "m", **({"sentinel_kwargs": given} if given else {})}
    app = WorkersCelery(backend="sentinel://127.0.0.1:1", set_as_current=False)
    app.conf.result_backend_transport_options = options
    backend: Any = app.backend
    for manager in (
        _broker_channel_of("sentinel://127.0.0.1:1", options),
        backend.client.connection_pool.sentinel_manager,
    ):
        (sentinel,) = manager.sentinels
        kwargs = sentinel.connection_pool.connection_kwargs
        assert 0 < kwargs["socket_timeout"] <= 1
        assert 0 < kwargs["socket_connect_timeout"] <= 1
        assert kwargs["retry"].get_retries() == 0
        assert kwargs.get("password") == given.get("password")


def _transport(connection: DurableConnection) -> Any:
    return connection.transport


def _broker_channel_of(url: str, options: dict[str, Any]) -> Any:
    """Return the sentinel manager that a channel makes, without a server to reach."""
    connection = DurableConnection(url, transport_options=options)
    channel: Any = object.__new__(_transport(connection).Channel)
    channel.connection, channel.sentinel_kwargs = connection.transport, options.get("sentinel_kwargs")
    channel.master_name, channel.keyprefix_fanout = options["master_name"], "/{db}."
    return channel._sentinel_managed_pool().sentinel_manager


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield a port that takes connections and never sends anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_listener_does_not_wait_for_the_rest_of_a_word() -> None:
    """A listener does not wait for the rest of a message from a server that stopped in its middle."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel: Any = object.__new__(_transport(DurableConnection("redis://h")).Channel)
        pool = redis.ConnectionPool(port=server.getsockname()[1], host="127.0.0.1", protocol=2)
        channel._create_client = lambda **_: redis.Redis(connection_pool=pool)
        plain: Any = redis.Connection
        connection = plain(port=server.getsockname()[1], host="127.0.0.1", protocol=2)
        connection.on_connect_check_health = lambda **_: connection._parser.on_connect(connection)
        connection.connect()
        peer, _ = server.accept()
        with peer:
            listener = channel.subclient
            listener.connection = connection
            assert listener.parse_response() is None, "nothing was said"
            peer.sendall(b"*3\r\n$8\r\npmess")
            listener._reconnect = lambda *_: None
            with pytest.raises(redis.TimeoutError):
                listener.parse_response()
        connection.disconnect()


def test_a_peer_that_says_nothing_is_left(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent peer is given up after bounded attempts, because a retry without end hears no stop."""
    options = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}

    def publish() -> None:
        raise redis.TimeoutError("Timeout reading from socket")

    with DurableConnection(f"redis://127.0.0.1:{silent}", transport_options=options) as connection:
        with pytest.raises(OperationalError):
            connection.ensure(None, publish, interval_start=0)()
        monkeypatch.setattr("threadsync.broker.producer._LONGEST_CONNECT_SECONDS", 0.05)
        connection.collect()
        with pytest.raises(OperationalError):
            connection.ensure_connection(interval_start=60)


def test_a_client_asks_for_results_within_a_limit(silent: int) -> None:
    """A silent result backend counts as "no result yet" within the limit."""
    broker = Broker(f"redis://127.0.0.1:{silent}/0")
    assert broker.result_of("an-id") == (False, None)
    broker.close()


OF_HTTPX: Final = frozenset({"Client", "AsyncClient", "get", "post", "request", "stream"})


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def _without_a_limit(call: ast.Call) -> bool:
    keywords = {keyword.arg for keyword in call.keywords}
    target = call.func
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    owner = ast.unparse(target.value) if isinstance(target, ast.Attribute) else ""
    if None in keywords or "timeout" in keywords:
        return False
    if owner == "httpx" and name in OF_HTTPX:
        return True
    if owner == "subprocess" and name in {"run", "check_output", "check_call"}:
        return True
    if owner == "urllib.request" or name in {"urlopen", "WebClient", "ClientSession"}:
        return True
    if owner in {"threading.Event()", "concurrent.futures"} and name == "wait":
        return not call.args
    return owner == "control" and name in {"ping", "inspect"}


def test_we_ask_nobody_without_a_limit() -> None:
    """Every call of ours to HTTP, Slack or another program has a limit."""
    looked_at = list(_calls())
    assert len(looked_at) > 1000
    assert [place for place, call in looked_at if _without_a_limit(call)] == []
