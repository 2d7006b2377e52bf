"""The texts of notifications by language: the kinds of content, reactions, and being added to a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from notify_service.model.events import ContentKind
from notify_service.model.generic_text import find_by_language


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language.

    `names` are those of the kinds in `_NAMED`. `reaction` has the field `emoji`, `added` the field `name`.
    """

    names: tuple[str, str, str, str, str, str]
    reaction: str
    added: str
    test: str

    def name_of(self, kind: ContentKind) -> str:
        """Return the name of a kind of content. Raise ValueError for text and opaque content."""
        return self.names[_NAMED.index(kind)]


_NAMED: Final = (
    ContentKind.IMAGE,
    ContentKind.VIDEO,
    ContentKind.AUDIO,
    ContentKind.FILE,
    ContentKind.LOCATION,
    ContentKind.CONTACT,
)

_ENGLISH: Final = Texts(
    ("Photo", "Video", "Audio", "File", "Location", "Contact"),
    "Reacted {emoji} to your message", "{name} added you to the group", "Test notification",
)  # fmt: skip

_TEXTS: Final = {
    "de": Texts(
        ("Foto", "Video", "Audio", "Datei", "Standort", "Kontakt"),
        "Hat mit {emoji} auf deine Nachricht reagiert", "{name} hat dich zur Gruppe hinzugefügt",
        "Testbenachrichtigung",
    ),
    "en": _ENGLISH,
    "es": Texts(
        ("Foto", "Vídeo", "Audio", "Archivo", "Ubicación", "Contacto"),
        "Reaccionó con {emoji} a tu mensaje", "{name} te añadió al grupo", "Notificación de prueba",
    ),
    "fr": Texts(
        ("Photo", "Vidéo", "Audio", "Fichier", "Position", "Contact"),
        "A réagi avec {emoji} à votre message", "{name} vous a ajouté au groupe", "Notification de test",
    ),
    "it": Texts(
        ("Foto", "Video", "Audio", "File", "Posizione", "Contatto"),
        "Ha reagito con {emoji} al tuo messaggio", "{name} ti ha aggiunto al gruppo", "Notifica di prova",
    ),
    "nl": Texts(
        ("Foto", "Video", "Audio", "Bestand", "Locatie", "Contact"),
        "Reageerde met {emoji} op je bericht", "{name} heeft je aan de groep toegevoegd", "Testmelding",
    ),
    "pt": Texts(
        ("Foto", "Vídeo", "Áudio", "Ficheiro", "Localização", "Contacto"),
        "Reagiu com {emoji} à sua mensagem", "{name} adicionou-o ao grupo", "Notificação de teste",
    ),
    "pt-br": Texts(
        ("Foto", "Vídeo", "Áudio", "Arquivo", "Localização", "Contato"),
        "Reagiu com {emoji} à sua mensagem", "{name} adicionou você ao grupo", "Notificação de teste",
    ),
}  # fmt: skip


def texts_in(language: str) -> Texts:
    """Return the texts in the language of a BCP 47 tag, in English if the language is unknown."""
    return find_by_language(_TEXTS, language, _ENGLISH)
