"""`python -m media_service`: a media server on MongoDB, S3 and etcd."""

from __future__ import annotations

from media_service.services import build
from media_service.settings import MediaSettings
from servicekit.server import run
from servicekit.service import serve


async def main() -> None:
    """Run a media server until SIGTERM or SIGINT, then drain and stop it."""
    await serve("media", MediaSettings, build)


if __name__ == "__main__":
    run(main())
