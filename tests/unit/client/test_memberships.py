"""The users whose watermarks decide the status of a message, from what a device may know of joins and leaves."""

from __future__ import annotations

import pytest

from parley_client.memberships import Memberships

ME, BOB, CAROL = "me", "bob", "carol"


def memberships(*known: tuple[str, int, int]) -> Memberships:
    """Return memberships with these (user, joined_seq, left_seq); 0: not known."""
    result = Memberships(ME)
    for user, joined, left in known:
        result.add(user, joined, left)
    return result


@pytest.mark.parametrize(
    ("known", "present", "deciding"),
    [
        ([(ME, 1, 0), (BOB, 1, 0), (CAROL, 7, 0)], {ME, BOB, CAROL}, {BOB}),
        ([(ME, 1, 0), (BOB, 1, 0), (CAROL, 1, 3), (CAROL, 7, 0)], {ME, BOB, CAROL}, {BOB}),
        ([(ME, 1, 0), (BOB, 1, 6), (CAROL, 1, 8)], {ME}, {CAROL}),
        ([(ME, 1, 0), (BOB, 1, 3)], {ME}, set()),
        ([(ME, 1, 0)], {ME, BOB}, {BOB}),
        ([(ME, 1, 0), (BOB, 0, 8)], {ME}, {BOB}),
        ([(ME, 1, 3), (ME, 4, 0), (BOB, 1, 0), (BOB, 9, 0)], {ME, BOB}, set()),
        ([(ME, 1, 6), (ME, 9, 0), (BOB, 1, 0), (BOB, 12, 0), (CAROL, 1, 7)], {ME, BOB}, {CAROL}),
    ],
    ids=[
        "newcomer-does-not-count",
        "former-member-who-returned-does-not-count",
        "last-to-leave-counts-when-all-have-left",
        "nobody-was-there",
        "member-who-joined-before-all-known-entries",
        "former-member-who-joined-before-all-known-entries",
        "unseen-leave-before-the-message",
        "unseen-leave-comes-before-a-known-one",
    ],
)
def test_status_of_a_message_is_decided_by_those_who_received_it(
    known: list[tuple[str, int, int]], present: set[str], deciding: set[str]
) -> None:
    assert memberships(*known).deciding_users(5, present) == deciding


def test_users_who_left_while_the_user_was_out_are_absent_at_the_return() -> None:
    known = memberships((ME, 1, 6), (ME, 9, 0), (BOB, 1, 0), (CAROL, 10, 0))
    assert known.add_absent({ME, CAROL}) == {BOB}
    assert known.deciding_users(7, {ME, CAROL}) == set()
    assert known.deciding_users(5, {ME, CAROL}) == {BOB}
    # The server names the true end later.
    known.add(BOB, 1, 8)
    assert known.left_before(BOB, 9) == 8


def test_user_who_was_never_out_has_seen_all_leave() -> None:
    assert memberships((ME, 1, 0), (BOB, 1, 0)).add_absent({ME}) == set()
