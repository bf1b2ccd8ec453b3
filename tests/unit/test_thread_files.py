"""The files of a thread: names, the choice, and what is taken for a file."""

from __future__ import annotations

import unicodedata
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scale import bounded
from worker.thread.files import (
    LONGEST_NAME,
    MOST_BYTES,
    MOST_BYTES_IN_ALL,
    MOST_FILES,
    REASONS,
    NotCopied,
    SlackFile,
    attachment_name,
    choose,
    fault_of,
    read_file,
)

URL = "https://files.slack.com/files-pri/T1-F1/download/plan.pdf"
RAW: dict[str, Any] = {
    "id": "F1",
    "name": "plan.pdf",
    "mimetype": "application/pdf",
    "size": 3,
    "url_private": "https://files.slack.com/files-pri/T1-F1/plan.pdf",
    "url_private_download": URL,
}
IDS = st.from_regex(r"F[A-Z0-9]{1,8}", fullmatch=True)
TROUBLES = st.sampled_from([None, None, None, "external", "hidden", "gone", "no_access"])
FILES = st.lists(
    st.builds(
        SlackFile,
        IDS,
        st.text(max_size=20),
        size=st.none() | st.integers(0, MOST_BYTES + 5) | st.just(MOST_BYTES),
        url=st.just(URL),
        trouble=TROUBLES,
    ),
    max_size=40,
)


@given(IDS, st.text(max_size=400))
def test_a_name_is_one_segment_and_short(file_id: str, name: str) -> None:
    """A name begins with the file's id, is at most 200 long, and has neither separators nor controls."""
    made = attachment_name(file_id, name)
    assert made.startswith(f"{file_id}-")
    assert len(made) > len(file_id) + 1
    assert len(made) <= LONGEST_NAME
    assert not set("/\\") & set(made)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in made)
    assert made == attachment_name(file_id, name)


@pytest.mark.bounded
@settings(max_examples=bounded(200, 50))
@given(FILES, st.lists(IDS, max_size=5))
def test_the_choice_keeps_all_limits_and_loses_no_file(files: list[SlackFile], there: list[str]) -> None:
    """The chosen files keep the limits and the order; each other file has a reason."""
    choice = choose(files, [f"{file_id}-x" for file_id in there])
    ids = list(dict.fromkeys(file.id for file in files))
    chosen = [file.id for file in choice.copied]
    assert chosen == [file_id for file_id in ids if file_id in chosen]
    assert set(chosen) | set(choice.not_copied) == set(ids)
    assert not set(chosen) & set(choice.not_copied)
    assert len(chosen) <= MOST_FILES
    sizes = [MOST_BYTES if file.size is None else file.size for file in choice.copied]
    assert all(size <= MOST_BYTES for size in sizes)
    assert sum(sizes) <= MOST_BYTES_IN_ALL
    assert all(file.trouble is None or file.id in there for file in choice.copied)


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({}, None),
        ({"mode": "tombstone"}, "gone"),
        ({"mode": "hidden_by_limit"}, "hidden"),
        ({"mode": "external"}, "external"),
        ({"is_external": True}, "external"),
        ({"file_access": "check_file_info"}, "no_access"),
        ({"file_access": "access_denied"}, "no_access"),
        ({"file_access": "file_not_found"}, "gone"),
        ({"file_access": "visible"}, None),
        ({"url_private": None, "url_private_download": ""}, "gone"),
        ({"mode": ["x"], "file_access": {}, "size": "3", "mimetype": 7, "name": None}, None),
    ],
)
def test_what_cannot_be_copied_is_seen_from_slacks_description(
    change: dict[str, Any], trouble: NotCopied | None
) -> None:
    """Files that are external, hidden, gone or not ours to read are told apart."""
    file = read_file({**RAW, **change})
    assert file is not None
    assert file.trouble == trouble


@pytest.mark.parametrize("raw", [None, {}, {"id": 7}, {"id": "f1"}, {"id": "F1/../x"}, {"id": "F1\n"}])
def test_what_has_no_id_is_no_file(raw: Any) -> None:
    """An entry without an id of Slack's form is no file."""
    assert read_file(raw) is None


@pytest.mark.parametrize(
    ("content", "kind", "change", "fault"),
    [
        (b"%PD", "application/pdf", {}, None),
        (b"%PDF", "application/pdf", {}, "incomplete"),
        (b"", "application/pdf", {}, "incomplete"),
        (b"<!D", "text/html; charset=utf-8", {}, "sign_in"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><p>", "application/pdf", {}, "sign_in"),
        (b"<HTML>", "application/octet-stream", {}, "sign_in"),
        (b"<html>", "text/html", {"mimetype": "text/html", "size": 6}, None),
        (b"<html>", "text/html", {"mimetype": "text/html", "size": 5}, "incomplete"),
        (b"anything", "application/pdf", {"size": None}, None),
    ],
)
def test_a_sign_in_page_and_a_part_are_no_files(
    content: bytes, kind: str, change: dict[str, Any], fault: NotCopied | None
) -> None:
    """HTML where Slack names another type, and another length than Slack's, are failures."""
    file = read_file({**RAW, **change})
    assert file is not None
    assert fault_of(file, content, kind) == fault


def test_every_reason_has_words() -> None:
    """Each reason for which a file is not copied has words."""
    assert set(REASONS) == set(get_args(NotCopied))
