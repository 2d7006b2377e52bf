"""The judge of the corpus finds lost, repeated, swapped and changed messages and names them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.scenarios.sdk.judge import Answered, Line, differences, disorder, gaps, log_of

PREFACE = [Line(1, "anna", None)]
SAID = [Answered("phone", number, "talk", Line(number + 2, "anna", f"word {number}")) for number in range(4)]
LOG = log_of("talk", PREFACE, reversed(SAID))


def given(log: Sequence[Line]) -> list[str]:
    return differences("tablet", {"talk": log}, {"talk": LOG})


def test_correct_log_has_no_complaints() -> None:
    assert [line.seq for line in LOG] == [1, 2, 3, 4, 5]
    assert gaps("talk", LOG) == disorder(SAID) == given(LOG) == []


@pytest.mark.parametrize(
    ("log", "place"),
    [
        (LOG[:2] + LOG[3:], 3),
        (LOG[:4], 5),
        (LOG[:3] + LOG[2:], 4),
        ([LOG[0], LOG[2], LOG[1], *LOG[3:]], 2),
        ([*LOG[:4], Line(5, "bert", "word 3")], 5),
        ([*LOG, Line(6, "anna", "word 4")], 6),
    ],
)
def test_first_difference_is_reported(log: list[Line], place: int) -> None:
    [complaint] = given(log)
    assert complaint.startswith(f"tablet in talk, place {place} of 5:")


def test_different_unicode_normalizations_are_reported_legibly() -> None:
    one, other = Line(1, "anna", "e\u0301"), Line(1, "anna", "\u00e9")
    [complaint] = differences("tablet", {"talk": [one]}, {"talk": [other]})
    assert r"'e\u0301'" in complaint
    assert r"'\xe9'" in complaint


def test_foreign_and_missing_conversations_are_reported() -> None:
    assert differences("tablet", {"theirs": LOG}, {}) == ["tablet was given theirs, which is not its own"]
    [complaint] = differences("tablet", {}, {"talk": LOG})
    assert "was given nothing more" in complaint


def test_duplicate_and_unassigned_seqs_are_reported() -> None:
    assert gaps("talk", log_of("talk", PREFACE, [*SAID, SAID[1]]))
    assert gaps("talk", log_of("talk", PREFACE, SAID[1:]))


def test_reordered_messages_of_one_device_are_reported() -> None:
    overtaken = [Answered("phone", 0, "talk", Line(3, "anna", "first")), Answered("phone", 1, "talk", SAID[0].line)]
    [complaint] = disorder(overtaken)
    assert "first" in complaint
