"""The generic text of notifications whose content is hidden, by language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

T = TypeVar("T")

_DEFAULT: Final = "New message"

_TEXTS: Final = {
    "ar": "رسالة جديدة",
    "bg": "Ново съобщение",
    "bn": "নতুন বার্তা",
    "ca": "Missatge nou",
    "cs": "Nová zpráva",
    "da": "Ny besked",
    "de": "Neue Nachricht",
    "el": "Νέο μήνυμα",
    "en": _DEFAULT,
    "es": "Nuevo mensaje",
    "et": "Uus sõnum",
    "fa": "پیام جدید",
    "fi": "Uusi viesti",
    "fr": "Nouveau message",
    "he": "הודעה חדשה",
    "hi": "नया संदेश",
    "hr": "Nova poruka",
    "hu": "Új üzenet",
    "id": "Pesan baru",
    "it": "Nuovo messaggio",
    "ja": "新着メッセージ",
    "ko": "새 메시지",
    "lt": "Nauja žinutė",
    "lv": "Jauna ziņa",
    "ms": "Mesej baharu",
    "nb": "Ny melding",
    "nl": "Nieuw bericht",
    "no": "Ny melding",
    "pl": "Nowa wiadomość",
    "pt": "Nova mensagem",
    "ro": "Mesaj nou",
    "ru": "Новое сообщение",
    "sk": "Nová správa",
    "sl": "Novo sporočilo",
    "sr": "Нова порука",
    "sv": "Nytt meddelande",
    "sw": "Ujumbe mpya",
    "th": "ข้อความใหม่",
    "tr": "Yeni mesaj",
    "uk": "Нове повідомлення",
    "ur": "نیا پیغام",
    "vi": "Tin nhắn mới",
    "zh": "新消息",
    "zh-hant": "新訊息",
    "zh-hk": "新訊息",
    "zh-tw": "新訊息",
}


def new_message(language: str) -> str:
    """Return “New message” in the language of a BCP 47 tag, in English if the language is unknown."""
    return find_by_language(_TEXTS, language, _DEFAULT)


def find_by_language(texts: Mapping[str, T], language: str, default: T) -> T:
    """Return what `texts` has for a BCP 47 tag, by lower-case tags, or `default`.

    The longest known beginning of the tag decides: `pt-BR` has the text of `pt`.
    """
    subtags = language.lower().split("-")
    tags = ("-".join(subtags[:count]) for count in range(len(subtags), 0, -1))
    return next((texts[tag] for tag in tags if tag in texts), default)
