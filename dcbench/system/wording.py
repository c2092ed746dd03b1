"""Times and numbers as people say them."""

from __future__ import annotations

import unicodedata

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def in_words(seconds: float) -> str:
    """In the unit that suits it: 0.4 s, 89 s, 10 min, 2.0 h, 3.5 d."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def printable(text: str) -> str:
    """``text`` as a terminal may show it: a control or direction-changing character becomes �.

    Line breaks and tabs stay. Names from files pass through here on their way to a person.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if character not in "\n\t" and unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in text
    )


def counted(number: int, noun: str) -> str:
    """1 set, 2 sets."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
