"""Pins on uvicorn and h11: a change of what handlers/http_protocol.py relies on fails here."""

from __future__ import annotations

import inspect
from asyncio import selector_events

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.http.flow_control import FlowControl

from handlers.http_protocol import BoundedProtocol, _AskingFlow, _HeadFirst
from tests.support.pinned import needed_by, overridden

PROTOCOL = "handlers/http_protocol.py"


@needed_by(PROTOCOL)
def test_what_is_overridden_is_there() -> None:
    """Our subclasses override existing names, without which they would never be called."""
    assert overridden(BoundedProtocol) >= {
        *("connection_made", "connection_lost", "handle_events", "get_buffer"),
        *("on_response_complete", "pause_writing", "resume_writing", "send_400_response", "buffer_updated"),
    }
    assert overridden(_AskingFlow) == {"resume_reading"}
    assert overridden(_HeadFirst) == {"next_event"}


@needed_by(PROTOCOL)
def test_a_connection_is_made_as_ours_is() -> None:
    """uvicorn makes a connection with these arguments, and sets the attributes that ours replaces."""
    parameters = list(inspect.signature(h11_impl.H11Protocol).parameters)
    assert parameters == ["config", "server_state", "app_state", "_loop"]
    source = inspect.getsource(h11_impl.H11Protocol)
    for words in (
        "self.conn = h11.Connection(",
        "self.flow = FlowControl(",
        "self.cycle = RequestResponseCycle(",
    ):
        assert words in source
    assert Config("x:y", http=BoundedProtocol).http is BoundedProtocol


@needed_by(PROTOCOL)
def test_an_app_that_asks_for_a_body_resumes_reading() -> None:
    """An app that asks for a body resumes reading before it waits, and ``PAUSED`` stops the reading."""
    receive = inspect.getsource(h11_impl.RequestResponseCycle.receive)
    assert receive.index("flow.resume_reading()") < receive.index("message_event.wait()")
    events = inspect.getsource(h11_impl.H11Protocol.handle_events)
    assert events.index("h11.PAUSED") < events.index("flow.pause_reading()") < events.index("h11.Request")
    assert list(inspect.signature(FlowControl).parameters) == ["transport"]


@needed_by("handlers/serve.py")
def test_a_backlog_is_how_many_asyncio_accepts_in_one_turn() -> None:
    """asyncio accepts ``backlog`` connections in one turn of its loop, and uvicorn passes on its own."""
    accept = inspect.getsource(vars(selector_events.BaseSelectorEventLoop)["_accept_connection"])
    assert "in range(backlog" in accept
    startup = inspect.getsource(Server.startup)
    assert startup.count("create_") - startup.count("create_protocol") == startup.count(
        "backlog=config.backlog"
    )
    assert "self.servers" in startup


@needed_by(PROTOCOL)
def test_a_head_is_parsed_before_its_body() -> None:
    """h11 parses a head before its body, one event at a time."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
    assert connection.trailing_data[0].startswith(b"POST / ")
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.their_state is h11.SEND_BODY
    assert isinstance(connection.next_event(), h11.Data)
