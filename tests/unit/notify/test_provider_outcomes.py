"""The outcomes of answers that have not the form of the provider's reference: a push is never lost by a fault here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_service.model.push import Accepted, Outcome, Rejected, RetryLater, TokenGone
from notify_service.providers.apns_outcomes import apns_outcome
from notify_service.providers.client import PushAnswer
from notify_service.providers.fcm_outcomes import fcm_outcome
from notify_service.providers.web_push_outcomes import web_push_outcome

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
DETAIL = st.fixed_dictionaries(
    {"errorCode": JSON, "fieldViolations": JSON | st.lists(st.fixed_dictionaries({"field": JSON}), max_size=2)}
)
DOCUMENT = st.fixed_dictionaries(
    {
        "error": JSON
        | st.fixed_dictionaries(
            {
                "status": JSON | st.just("INVALID_ARGUMENT"),
                "details": JSON | st.lists(JSON | DETAIL, max_size=2),
                "message": JSON,
            }
        ),
        "reason": JSON,
        "timestamp": JSON,
        "errno": JSON,
    }
)


@pytest.mark.parametrize("judge", [fcm_outcome, apns_outcome, web_push_outcome])
@given(document=JSON | DOCUMENT, status=st.integers(200, 599))
def test_answer_of_any_form_has_an_outcome(judge: Callable[[PushAnswer], Outcome], document: Any, status: int) -> None:
    outcome = judge(PushAnswer(status, {}, json.dumps(document).encode()))
    assert isinstance(outcome, Accepted) or json.dumps(outcome.reason)
    assert not isinstance(outcome, TokenGone) or outcome.applies_to(1) in (True, False)


def test_server_error_with_a_body_that_is_nested_too_deep_is_tried_again() -> None:
    answer = PushAnswer(503, {}, b"[" * 16_384)
    assert [judge(answer) for judge in (fcm_outcome, apns_outcome, web_push_outcome)] == [RetryLater("HTTP 503")] * 3


@pytest.mark.parametrize("violations", [5, "field", {"field": "message.token"}, [{"field": []}], [None]])
def test_field_violations_of_another_form_concern_no_token(violations: object) -> None:
    error = {"status": "INVALID_ARGUMENT", "details": [{"fieldViolations": violations}]}
    answer = PushAnswer(400, {}, json.dumps({"error": error}).encode())
    assert fcm_outcome(answer) == Rejected("INVALID_ARGUMENT")
