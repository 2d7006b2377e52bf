"""Message texts in many languages and scripts, from the data of chatterbot-corpus, with added emoji."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from random import Random

import yaml

RIGHT_TO_LEFT = ("hebrew", "persian", "urdu")
CJK = ("chinese", "traditionalchinese", "japanese", "korean")
OTHERS = ("hindi", "tamil", "thai", "russian", "german", "english")
LANGUAGES = RIGHT_TO_LEFT + CJK + OTHERS

SEASONING = (
    "\N{GRINNING FACE}",
    # Several characters shown as one: a family, a flag of two letters and one of tags, a skin tone, a key, a heart.
    "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}",
    "\N{REGIONAL INDICATOR SYMBOL LETTER I}\N{REGIONAL INDICATOR SYMBOL LETTER L}",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}",
    "1\ufe0f\u20e3",
    "\u2764\ufe0f\u200d\N{FIRE}",
    # The same letter in two spellings, and one under a heap of marks: nobody may normalise them.
    "e\u0301 \u00e9",
    "z\u0351\u036b\u0343\u036a\u0302",
    # Marks of direction, a space that joins, a line break, a character at the end of the last plane.
    "\u200f\u2067!\u2069",
    "\u00a0\n",
    "\U0010fffd",
)


def language(name: str) -> list[str]:
    """Return all utterances of a language, in file order."""
    folder = Path(str(distribution("chatterbot-corpus").locate_file("chatterbot_corpus"))) / "data" / name
    return [line for file in sorted(folder.glob("*.yml")) for line in _lines(file) if line.strip()]


def utterances(count: int, random: Random) -> list[str]:
    """Return `count` shuffled texts, in equal shares per language as far as available; every third has emoji."""
    share = -(-count // len(LANGUAGES))
    said = [line for name in LANGUAGES for line in _share(language(name), share, random)]
    random.shuffle(said)
    return [_with_emoji(line, random) if number % 3 == 0 else line for number, line in enumerate(said[:count])]


def _lines(file: Path) -> list[str]:
    talks = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)["conversations"]
    return [line for talk in talks for line in talk if isinstance(line, str)]


def _share(lines: list[str], share: int, random: Random) -> list[str]:
    return random.sample(lines, share) if len(lines) >= share else random.choices(lines, k=share)


def _with_emoji(line: str, random: Random) -> str:
    place, what = random.randrange(len(line) + 1), random.choice(SEASONING)
    return line[:place] + what + line[place:]
