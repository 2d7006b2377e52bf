"""A canary is found in a log, a trace or a metric, however it is spelled there, and a secret as it is."""

from __future__ import annotations

import base64

import pytest

from tests.faults.canaries import TEXT, WORDS, Canaries


def message(word: str, before: int) -> bytes:
    return b"\x0a\x20" + b"x" * before + word.encode() + b"\x10\x01 and more"


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("before", range(3))
def test_planted_canary_is_found(kind: str, before: int) -> None:
    planted = message(WORDS[kind], before)
    canaries = Canaries()
    for spelled in (planted, planted.hex().encode(), base64.b64encode(planted), repr(planted).encode()):
        [leak] = canaries.find([("chat-1.log", b"a line\n" + spelled + b"\na line"), ("chat-2.log", b"a line")])
        assert leak.startswith(f"{kind} in chat-1.log")
        assert WORDS[kind] not in leak


def test_planted_token_is_found() -> None:
    signature = "0123456789" * 8
    canaries = Canaries()
    canaries.add_secret("token", f"eyJhbGciOi.eyJzdWIiOi.{signature}")
    canaries.add_secret("token", "")
    leaks = canaries.find([("traces", b"Bearer eyJhbGciOi.eyJzdWIiOi." + signature.encode())])
    assert [leak.partition(":")[0] for leak in leaks] == ["token in traces"]
    assert signature not in leaks[0]


def test_nothing_is_found_where_nothing_is() -> None:
    assert TEXT in WORDS.values()
    assert Canaries().find([("chat-1.log", b"frame refused, conversation_id=5b1f0c canary text")]) == []
