"""Page tokens continue the request that got them, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.history.history import ChangesPosition
from chat_service.history.message_search import Rank
from chat_service.model.cursor import Cursor, Resync
from chat_service.wire import positions
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from servicekit.errors import PageTokenInvalid
from servicekit.page_tokens import ID_POSITION, decode_page_token, encode_page_token, next_page_token

ID = "a" * 32


def search(query: str, token: str = "", page_size: int = 0) -> account_pb2.SearchUsersRequest:
    return account_pb2.SearchUsersRequest(query=query, page_token=token, page_size=page_size)


def test_page_token_holds_the_position_of_its_query() -> None:
    token = encode_page_token(search("ali"), "alice")
    assert decode_page_token(search("ali", token), positions.LOGIN_NAME) == "alice"
    assert decode_page_token(search("ali", token, page_size=7), positions.LOGIN_NAME) == "alice"
    assert decode_page_token(search("ali"), positions.LOGIN_NAME) == ""


@pytest.mark.parametrize(
    "token", ["x", "AAAA", "not base64!", "é", "A" * 256, "=", encode_page_token(search("bob"), "bob")]
)
def test_page_token_of_another_query_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_page_token(search("ali", token), positions.LOGIN_NAME)


def test_page_token_of_another_list_is_refused() -> None:
    token = encode_page_token(account_pb2.ListBlockedRequest(), ID)
    assert decode_page_token(account_pb2.ListBlockedRequest(page_token=token), ID_POSITION) == ID
    with pytest.raises(PageTokenInvalid):
        decode_page_token(conversation_pb2.ListConversationsRequest(page_token=token), ID_POSITION)


@pytest.mark.parametrize(
    "other",
    [
        chat_pb2.ListMessagesRequest(conversation_id="b" * 32, after_seq=1),
        chat_pb2.ListMessagesRequest(conversation_id=ID, after_seq=2),
        chat_pb2.ListMessagesRequest(conversation_id=ID, before_seq=1),
    ],
)
def test_page_token_of_other_arguments_is_refused(other: chat_pb2.ListMessagesRequest) -> None:
    other.page_token = encode_page_token(chat_pb2.ListMessagesRequest(conversation_id=ID, after_seq=1), "5")
    with pytest.raises(PageTokenInvalid):
        decode_page_token(other, positions.SEQ)


@pytest.mark.parametrize("position", ["", "x", "²", "0", "-1", "9" * 30, "5\n", "a" * 32])
def test_forged_seq_is_refused(position: str) -> None:
    request = chat_pb2.ListMessagesRequest(conversation_id=ID)
    request.page_token = encode_page_token(request, position)
    with pytest.raises(PageTokenInvalid):
        decode_page_token(request, positions.SEQ)


@pytest.mark.parametrize("position", ["", "zz", "a" * 31, "a" * 64, "A" * 32, "a" * 32 + "\n"])
def test_forged_id_is_refused(position: str) -> None:
    request = conversation_pb2.ListConversationsRequest()
    request.page_token = encode_page_token(request, position)
    with pytest.raises(PageTokenInvalid):
        decode_page_token(request, ID_POSITION)


@pytest.mark.parametrize("position", [f"0:1:{'9' * 19}:{ID}", f"0:-:1:{ID}", f"0:1:-:{ID}", f"5:-:-:{ID}"])
def test_forged_changes_position_is_refused(position: str) -> None:
    request = chat_pb2.ListChangesRequest()
    request.page_token = encode_page_token(request, position)
    with pytest.raises(PageTokenInvalid):
        decode_page_token(request, positions.CHANGES)


@pytest.mark.parametrize("position", ["1", f"{'9' * 19}:{ID}", f"-1:{ID}"])
def test_forged_rank_is_refused(position: str) -> None:
    request = chat_pb2.SearchMessagesRequest(query="red")
    request.page_token = encode_page_token(request, position)
    with pytest.raises(PageTokenInvalid):
        decode_page_token(request, positions.RANK)


@pytest.mark.parametrize(
    "position",
    [ChangesPosition(Resync.NO_CURSOR, None, ID), ChangesPosition(Resync.NONE, Cursor(3, 1_700_000_000_000), ID)],
)
def test_changes_position_round_trips(position: ChangesPosition) -> None:
    text = positions.encode_changes_position(position)
    assert positions.CHANGES.fullmatch(text)
    assert positions.decode_changes_position(text) == position


@given(st.integers(min_value=0, max_value=9 * 10**18 - 1))
def test_rank_round_trips(order: int) -> None:
    text = positions.encode_rank(Rank(order, ID))
    assert positions.RANK.fullmatch(text)
    assert positions.decode_rank(text) == Rank(order, ID)


def test_last_page_has_no_next_page_token() -> None:
    names = ["alice", "alicia"]
    assert next_page_token(search("ali"), names, 2, str) == ""
    assert next_page_token(search("ali"), names, 1, str) == encode_page_token(search("ali"), "alice")
