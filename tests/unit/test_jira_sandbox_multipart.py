"""Files in a multipart request, as the sandbox Jira reads them."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jira.issues import Upload
from sandbox.jira.multipart import NotMultipart, uploads_of

FORM = "multipart/form-data; boundary=b0"


def by_httpx(*files: tuple[str, bytes], field: str = "file") -> tuple[str, bytes]:
    """Return content type and body of a request that httpx builds."""
    parts = [(field, (name, content, "text/plain")) for name, content in files]
    request = httpx.Request("POST", "http://jira.example", files=parts)
    return request.headers["content-type"], request.read()


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
                lambda name: "%" not in name and name.strip()
            ),
            st.binary(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_httpx_sends_is_read(files: list[tuple[str, bytes]]) -> None:
    """Names in any language and contents of any bytes are read as they were sent."""
    content_type, body = by_httpx(*files)
    read = uploads_of(content_type, body)
    assert read == tuple(Upload(name, content, "text/plain") for name, content in files)


def test_other_parts_are_passed_over() -> None:
    """A part of another name, or without a file's name, is no file."""
    content_type, body = by_httpx(("a.txt", b"A"), field="document")
    assert uploads_of(content_type, body) == ()
    assert uploads_of(content_type, body, "document") == (Upload("a.txt", b"A", "text/plain"),)
    plain = b'--b0\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b0--\r\n'
    assert uploads_of(FORM, plain) == ()


def test_a_name_in_the_extended_notation() -> None:
    """A name that is sent in UTF-8 by the extended notation wins over the plain one."""
    head = b"Content-Disposition: form-data; name=file; filename=\"x\"; filename*=UTF-8''Ma%C3%9F.txt"
    body = b"--b0\r\n" + head + b"\r\n\r\nA\r\n--b0--\r\n"
    assert uploads_of(FORM, body) == (Upload("Maß.txt", b"A"),)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--b0--\r\n"),
        (FORM, b""),
        (FORM, b"no boundary"),
        (FORM, b'--b0\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf'),
        (FORM, b"--b0\r\nno content\r\n--b0--\r\n"),
    ],
)
def test_what_is_no_multipart_request(content_type: str, body: bytes) -> None:
    """Another kind of request, and one that ends early, is refused."""
    with pytest.raises(NotMultipart):
        uploads_of(content_type, body)
