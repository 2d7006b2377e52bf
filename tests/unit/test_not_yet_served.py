"""What the contract promises and this version does not serve: the list only shrinks."""

from pathlib import Path

from chat_service.not_served import not_yet_served

LISTED = set(Path(__file__).with_name("not_yet_served.txt").read_text().split())


def test_the_list_only_shrinks() -> None:
    assert not_yet_served() <= LISTED, "what was served must stay served"


def test_what_is_served_by_now_leaves_the_list() -> None:
    assert not_yet_served() >= LISTED, "take these out of not_yet_served.txt"
