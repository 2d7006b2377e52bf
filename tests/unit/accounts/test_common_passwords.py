"""The most common passwords are known, whatever the case of their letters, and others are not."""

import pytest

from chat_service.accounts.common_passwords import is_common


@pytest.mark.parametrize("password", ["password", "PASSWORD1", "12345678", "qwertyuiop", "trustno1", "iloveyou"])
def test_common_password_is_recognised(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", ["", "correct horse", "MIT License", "pass word", "Zx9-kestrel-oatmeal"])
def test_other_text_is_no_common_password(password: str) -> None:
    assert not is_common(password)
