"""The broker that docker-compose.yml describes, started from its own configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.compose import valkey_settings
from worker.local.servers.valkey import EmbeddedValkey
from worker.operate.rights.broker_users import NAMES, acl_line, login_of


class PlainValkey(EmbeddedValkey):
    """A Valkey with the server's own defaults instead of the embedded one's."""

    defaults: ClassVar = {"bind": "127.0.0.1"}


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """Start a Valkey with the compose service's file, and the test's address, folder and password."""
    (tmp_path / "valkey_auth").write_text("requirepass the-test-has-its-own\n")
    (tmp_path / "valkey_users").write_text("".join(f"{acl_line(user, 'pw')}\n" for user in NAMES))
    valkey = PlainValkey(tmp_path / "valkey", settings=valkey_settings(tmp_path))
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.stop()


def test_it_keeps_what_it_acknowledges(configured: EmbeddedValkey) -> None:
    """The compose service's broker logs every write to disk, evicts nothing and wants a login."""
    with redis.Redis.from_url(configured.url, decode_responses=True) as client:
        found = client.config_get("append*", "maxmemory-policy", "save", "requirepass")
    assert (found["appendonly"], found["appendfsync"]) == ("yes", "always")
    assert (found["maxmemory-policy"], found["save"]) == ("noeviction", "")
    assert found["requirepass"]
    port = urlsplit(configured.url).port
    for user in NAMES:
        with redis.Redis(port=port or 0, username=login_of(user), password="pw") as client:
            assert client.ping()
    with redis.Redis(port=port or 0) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
