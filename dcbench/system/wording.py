"""Durations, numbers and names as people read them."""

from __future__ import annotations

import unicodedata

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def in_words(seconds: float) -> str:
    """Format a duration in a suitable unit: 0.4 s, 89 s, 10 min, 2.0 h, 3.5 d."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def printable(text: str) -> str:
    """Make ``text`` safe for a terminal: control and direction-changing characters become �.

    Line breaks and tabs stay. Every name from a file passes through here before it is shown.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if character not in "\n\t" and unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in text
    )


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: 1 set, 2 sets."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
