"""The S3 store of a stack, as the media service uses it."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from devstack.s3 import BUCKET, REGION
from devstack.stack import Stack
from media_service.settings import S3Settings


def s3_settings(stack: Stack, **overrides: Any) -> S3Settings:
    """Return the settings for the S3 store of `stack`; `overrides` take precedence."""
    settings = {
        "s3_url": stack.s3.url,
        "s3_bucket": BUCKET,
        "s3_region": REGION,
        "s3_access_key": stack.s3.keys.access_key,
        "s3_secret_key": SecretStr(stack.s3.keys.secret_key),
    }
    return S3Settings(**{**settings, **overrides})
