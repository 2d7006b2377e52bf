"""`python -m tools.settings_page` writes docs/settings.md: each setting with its default and meaning, from the code.

The meaning of a setting is the comment above its field.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo

from chat_service.model.retention import Retention
from chat_service.settings import ChatSettings
from media_service.settings import MediaSettings, S3Settings
from notify_service.settings import NotifySettings, ProviderSettings
from presence_service.settings import PresenceSettings
from servicekit.config import ENV_PREFIX, Settings
from servicekit.settings import EtcdSettings, MongoSettings, RedisSettings, ServiceSettings, TlsSettings

PAGE: Final = Path(__file__).parent.parent / "docs" / "settings.md"
SERVICES: Final[dict[str, type[Settings]]] = {
    "chat": ChatSettings,
    "media": MediaSettings,
    "presence": PresenceSettings,
    "notify": NotifySettings,
}
SECTIONS: Final[dict[str, type[Settings]]] = {
    "Every service": ServiceSettings,
    "etcd": EtcdSettings,
    "TLS between the processes": TlsSettings,
    "MongoDB": MongoSettings,
    "Redis": RedisSettings,
    "S3": S3Settings,
    "Chat": ChatSettings,
    "Media": MediaSettings,
    "Notify": NotifySettings,
    "Push providers": ProviderSettings,
}
INTRODUCTION: Final = """\
# Settings

Every setting is an environment variable. A service reads its own and ignores the others; without a required one, or
with a wrong value, it exits with 1 and a sentence that names the variable. Settings are read at the start: a change
takes effect when the server is restarted, which no user notices ([operations.md](operations.md#restart-and-upgrade)).

This page is written from the code by `python -m tools.settings_page`.
"""


def render() -> str:
    """Return the page. Raise ValueError if a setting has no comment."""
    return "\n".join([INTRODUCTION, *(_section(title, settings) for title, settings in SECTIONS.items())])


def _section(title: str, settings: type[Settings]) -> str:
    rows = [_row(name, settings.model_fields[name], comment) for name, comment in _comments(settings)]
    readers = [name for name, of_service in SERVICES.items() if issubclass(of_service, settings)]
    read_by = f"Read by {', '.join(readers)}.\n\n" if readers else ""
    return f"## {title}\n\n{read_by}| variable | default | meaning |\n|---|---|---|\n{''.join(rows)}"


def _row(name: str, field: FieldInfo, comment: str) -> str:
    default = (
        "**required**" if field.is_required() else f"`{_text(field.default)}`" if _text(field.default) else "unset"
    )
    return f"| `{ENV_PREFIX}{name.upper()}` | {default} | {comment} |\n"


def _text(default: Any) -> str:
    """Return a default as the environment spells it; empty if there is none."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Retention):
        return default.rule.name.lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default or "")


def _comments(settings: type[Settings]) -> Iterator[tuple[str, str]]:
    """Yield each field that the class itself declares, with its comment."""
    lines = list[str]()
    for line in inspect.getsource(settings).splitlines():
        if (comment := re.fullmatch(r" {4}# (.*)", line)) is not None:
            lines.append(comment[1])
        elif (field := re.match(r" {4}([a-z]\w*): ", line)) is not None:
            if not lines:
                raise ValueError(f"{settings.__name__}.{field[1]} has no comment: its meaning in {PAGE.name}")
            yield field[1], " ".join(lines)
            lines = []
        elif line.startswith(("    @", "    def ")):
            return


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
