"""The order in which hosts are asked, and the choice among them."""

from __future__ import annotations

import pytest

from worker.db.reach import AVOIDED_SECONDS, SLOW_SECONDS, Reach

TWO = {"host": "a,b", "port": "1,2", "dbname": "d"}
TROUBLE = OSError("it")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def order(reach: Reach, parameters: dict[str, str]) -> list[str]:
    return [attempt["host"] for attempt in reach.attempts(parameters)]


def test_of_several_hosts_the_one_that_takes_writes_is_wanted() -> None:
    """A host that takes writes is wanted where there are several, unless the URL says otherwise."""
    assert Reach().attempts(TWO) == [
        {"host": "a", "port": "1", "dbname": "d", "target_session_attrs": "read-write"},
        {"host": "b", "port": "2", "dbname": "d", "target_session_attrs": "read-write"},
    ]
    wanted = {
        attempt["target_session_attrs"]
        for attempt in Reach().attempts({**TWO, "target_session_attrs": "any"})
    }
    assert wanted == {"any"}


def test_one_host_is_taken_as_it_is_until_it_refuses_a_write() -> None:
    """A single host is accepted as it is, until it has led to a read-only server."""
    reach = Reach()
    assert reach.attempts({"host": "a"}) == [{"host": "a"}]
    reach.led_to_read_only()
    assert reach.attempts({"host": "a"}) == [{"host": "a", "target_session_attrs": "read-write"}]
    assert reach.attempts({"host": "a", "target_session_attrs": "any"})[0]["target_session_attrs"] == "any"


def test_a_silent_host_is_asked_last_for_a_while() -> None:
    """A silent host is asked last for a while; one that refuses at once keeps its place."""
    clock = Clock()
    reach = Reach(clock)
    first, _ = reach.attempts(TWO)
    reach.failed(first, 0.01, TROUBLE)
    assert order(reach, TWO) == ["a", "b"]
    reach.failed(first, SLOW_SECONDS, TROUBLE)
    assert order(reach, TWO) == ["b", "a"]
    clock.now += AVOIDED_SECONDS
    assert order(reach, TWO) == ["a", "b"]
    reach.failed(first, SLOW_SECONDS, TROUBLE)
    reach.succeeded(first)
    assert order(reach, TWO) == ["a", "b"]


def test_a_silent_host_alone_is_asked_all_the_same() -> None:
    """Hosts keep their order if all of them are silent."""
    reach = Reach()
    for host in reach.attempts(TWO):
        reach.failed(host, 5, TROUBLE)
    assert order(reach, TWO) == ["a", "b"]


def test_lists_that_do_not_fit_are_left_to_libpq() -> None:
    """Lists of different lengths are left to libpq, which says what is wrong with them."""
    (attempt,) = Reach().attempts({**TWO, "port": "1,2,3"})
    assert attempt["host"] == "a,b"


def test_a_silent_host_comes_last_in_a_random_order_too() -> None:
    """A random order ends with the silent host, and draws the first among the others."""
    reach = Reach()
    parameters = {"host": "a,b,c", "load_balance_hosts": "random"}
    assert {order(reach, parameters)[0] for _ in range(200)} == {"a", "b", "c"}
    reach.failed({"host": "b"}, SLOW_SECONDS, TROUBLE)
    orders = [order(reach, parameters) for _ in range(200)]
    assert {hosts[0] for hosts in orders} == {"a", "c"}
    assert {hosts[2] for hosts in orders} == {"b"}


def test_standbys_are_asked_first_where_they_are_preferred() -> None:
    """Preferred standbys are asked first, but a silent host comes after both kinds of one that responds."""
    reach = Reach()
    parameters = {**TWO, "target_session_attrs": "prefer-standby"}

    def asked() -> list[tuple[str, str]]:
        return [(attempt["host"], attempt["target_session_attrs"]) for attempt in reach.attempts(parameters)]

    assert asked() == [("a", "standby"), ("b", "standby"), ("a", "any"), ("b", "any")]
    reach.failed({"host": "a", "port": "1"}, SLOW_SECONDS, TROUBLE)
    assert asked() == [("b", "standby"), ("b", "any"), ("a", "standby"), ("a", "any")]


@pytest.mark.parametrize("preferred", ["any", "prefer-standby"])
def test_of_several_a_read_only_one_is_not_taken_again(preferred: str) -> None:
    """A read-only server is not accepted again where several are listed, unless the URL demands one."""
    reach = Reach()
    parameters = {**TWO, "target_session_attrs": preferred}
    reach.led_to_read_only()
    assert [attempt["target_session_attrs"] for attempt in reach.attempts(parameters)] == ["read-write"] * 2
    for wanted in ("primary", "standby", "read-only"):
        (first, _) = reach.attempts({**TWO, "target_session_attrs": wanted})
        assert first["target_session_attrs"] == wanted


def test_one_port_is_for_all_hosts() -> None:
    """One port counts for all hosts, as in libpq."""
    assert [attempt["port"] for attempt in Reach().attempts({"host": "a,b,c", "port": "7"})] == ["7"] * 3


def test_the_last_trouble_is_kept_until_a_connection_is_made() -> None:
    """The last trouble is kept for the log until a connection is made."""
    reach = Reach()
    reach.failed({"host": "a"}, 0.1, TROUBLE)
    assert reach.trouble is TROUBLE
    reach.succeeded({"host": "a"})
    assert reach.trouble is None


def addresses(reach: Reach, attempt: dict[str, str], *known: str) -> list[str]:
    return [one["hostaddr"] for one in reach.each_address(attempt, known)]


def test_a_silent_address_of_a_name_is_asked_last_for_a_while() -> None:
    """A silent address is asked last for a while, and so is the host name that it belongs to."""
    clock = Clock()
    reach = Reach(clock)
    first, _ = reach.attempts(TWO)
    silent, _ = reach.each_address(first, ["::1", "::2"])
    assert silent == {**first, "hostaddr": "::1"}
    reach.failed(silent, SLOW_SECONDS, TROUBLE)
    assert addresses(reach, first, "::1", "::2") == ["::2", "::1"]
    assert order(reach, TWO) == ["b", "a"]
    clock.now += AVOIDED_SECONDS
    assert addresses(reach, first, "::1", "::2") == ["::1", "::2"]
    assert order(reach, TWO) == ["a", "b"]


def test_a_host_without_addresses_is_one_attempt() -> None:
    """A host without addresses is one attempt."""
    assert Reach().each_address({"host": "/tmp"}, ()) == [{"host": "/tmp"}]


def test_a_standby_is_looked_for_at_all_addresses_of_a_name_before_any_will_do() -> None:
    """A standby is looked for at all addresses of a name before any server will do."""
    wanted = [
        attempt["target_session_attrs"]
        for attempt in Reach().attempts({"host": "a", "target_session_attrs": "prefer-standby"})
    ]
    assert wanted == ["standby", "any"]


def test_addresses_are_drawn_by_lot_where_hosts_are() -> None:
    """Addresses are drawn at random where hosts are, as in libpq."""
    attempt = {"host": "a", "load_balance_hosts": "random"}
    assert {addresses(Reach(), attempt, "::1", "::2", "::3")[0] for _ in range(200)} == {"::1", "::2", "::3"}
