"""Hosts as requests and settings name them."""

from __future__ import annotations

import pytest

from threadsync.config import load_settings
from threadsync.errors import InvalidSettings
from threadsync.hosts import Host, PublicHosts, is_loopback_address, read_host

HOSTS = PublicHosts(
    ["threadsync.example.com", "Ops.Example.com:8443", "büro.example", "[2001:DB8::1]", "10.0.0.7"]
)


def named(*hosts: bytes, scheme: str = "https") -> bool:
    return HOSTS.named_by([(b"host", host) for host in hosts], scheme) is not None


@pytest.mark.parametrize(
    "host",
    [
        b"threadsync.example.com",
        b"THREADSYNC.Example.COM",
        b"threadsync.example.com.",
        b"threadsync.example.com:443",
        b"threadsync.example.com:8080",
        b"threadsync.example.com:",
        b"ops.example.com:8443",
        b"ops.example.com.:8443",
        b"xn--bro-hoa.example",
        b"[2001:db8:0::1]:3000",
        b"10.0.0.7",
        # This machine is always a host of ours, whatever the settings.
        b"localhost:3000",
        b"127.0.0.1",
        b"127.8.8.8:3000",
        b"[::1]:3000",
        b"[::ffff:127.0.0.1]",
    ],
)
def test_hosts_of_ours(host: bytes) -> None:
    """A host of ours is known in any case, with a last dot, a port, or another spelling of its address."""
    assert named(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"evil.example.com",
        b"threadsync.example.com.evil.com",
        b"evil-threadsync.example.com",
        b"x.threadsync.example.com",
        b"threadsync.example.com..",
        b"threadsync.example.com:0",
        b"threadsync.example.com:65536",
        b"threadsync.example.com:80:80",
        b"threadsync.example.com, evil.com",
        b"threadsync.example.com evil.com",
        b"evil.com@threadsync.example.com",
        b"threadsync.example.com/evil",
        b"threadsync.example.com#",
        b"threadsync.example.com\\@evil.com",
        b"ops.example.com",
        b"ops.example.com:8444",
        "büro.example".encode(),
        b"2001:db8::1",
        b"[2001:db8::2]",
        b"[::1",
        b"10.0.0.70",
        b"127.1",
        b"0x7f.0.0.1",
        b"2130706433",
        b"0.0.0.0",
        b"localhost.example.com",
        b"127.0.0.1.nip.io",
        b"localhost\x00",
    ],
)
def test_hosts_of_others(host: bytes) -> None:
    """Another host, or a text that is no host, is not one of ours."""
    assert not named(host)


def test_one_header_names_a_host() -> None:
    """A request must have exactly one host header."""
    assert not named()
    assert not named(b"threadsync.example.com", b"threadsync.example.com")
    assert not named(b"threadsync.example.com", b"evil.com")


def test_a_default_port_is_that_of_the_scheme() -> None:
    """A default port may be left out, and it is that of the scheme."""
    hosts = PublicHosts(["ops.example.com:443"])
    named = [hosts.named_by([(b"host", b"ops.example.com")], scheme) for scheme in ("https", "http")]
    assert named == [Host("ops.example.com"), None]


def test_addresses_of_loopback() -> None:
    """Loopback addresses are known in IPv4, in IPv6, and as IPv4 within IPv6."""
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert is_loopback_address(address)
    for address in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "", "localhost", "testclient"):
        assert not is_loopback_address(address)


@pytest.mark.parametrize(
    "hosts", ["https://a.example", "a.example/console", "*.example", "a b", "a.example:x"]
)
def test_what_is_no_host_is_refused_at_the_start(hosts: str) -> None:
    """A setting that is no host is refused at the start, with a sentence that says how to write it."""
    with pytest.raises(InvalidSettings, match=r"PUBLIC_HOSTS: .* write names alone"):
        load_settings(public_hosts=f"ok.example,{hosts}")


def test_hosts_of_the_settings() -> None:
    """Hosts in the settings are separated by commas, with or without blanks."""
    assert load_settings(public_hosts=" a.example, [::2]:80 ,").public_hosts == ("a.example", "[::2]:80")
    assert load_settings(public_hosts="").public_hosts == ()
    assert read_host("[::2]:80") == Host("::2", 80)
