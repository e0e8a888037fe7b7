"""Requests: round trips, and what is refused to be read as one."""

from __future__ import annotations

import json

import pytest

from locum.coordination.request import REQUESTS, Request, request_key
from locum.errors import CorruptRecordError
from locum.store import Record


def record(value: bytes) -> Record:
    return Record(request_key("election/settlement"), value, 1, 1, None)


@pytest.mark.parametrize("request_", [Request(7, "was asked"), Request(7, "was transferred to web-2", "web-2")])
def test_a_request_comes_back(request_: Request) -> None:
    assert Request.of(record(request_.to_bytes())) == request_


def test_one_without_a_successor_is_what_an_older_release_writes() -> None:
    assert json.loads(Request(7, "was asked").to_bytes()) == {"token": 7, "why": "was asked"}


def test_what_a_later_release_adds_is_left_out() -> None:
    assert Request.of(record(b'{"token": 7, "why": "x", "more": 1}')) == Request(7, "x")


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[]", b"3", b"null", b"{}", b'{"token": 1}', b'{"token": "x", "why": ""}']
)
def test_what_is_no_request_is_told(value: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="request/election/settlement is not readable: it is no request"):
        Request.of(record(value))


def test_keys() -> None:
    assert request_key("election/s") == f"{REQUESTS}election/s" == "request/election/s"
