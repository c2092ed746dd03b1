"""Text from files made harmless in LaTeX and markdown."""

from __future__ import annotations

import unicodedata

from dcbench.report.formatting import DASH, MINUS, TIMES, one_line

# Nothing here needs more than LaTeX's oldest fonts: \$ and a few others would take one that a small
# installation lacks.
_LATEX_ASCII = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\char36{}",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": r"\`{}",
}
_LATEX_SYMBOLS = {
    "±": r"$\pm$",
    DASH: r"\textendash{}",
    MINUS: "$-$",
    TIMES: r"$\times$",
    "÷": r"$\div$",
    "†": r"$\dagger$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}


def latex(text: str) -> str:
    """Escape ``text`` for LaTeX: no part of it is a command, and no font lacks a glyph of it."""
    escaped = "".join(
        map(_latex_character, unicodedata.normalize("NFC", one_line(text, longest=10_000)))
    )
    while "--" in escaped:
        escaped = escaped.replace("--", "-{}-")  # no ligature
    # \\ would take them for its own
    return "{" + escaped[0] + "}" + escaped[1:] if escaped[:1] in ("[", "*") else escaped


def _latex_character(character: str) -> str:
    known = _LATEX_ASCII.get(character) or _LATEX_SYMBOLS.get(character)
    if known:
        return known
    if "α" <= character <= "ω" and character != "ο":
        name = unicodedata.name(character).split()[-1].lower()
        return rf"$\{'lambda' if name == 'lamda' else name}$"
    accented = "\u00c0" <= character <= "\u00ff" and character not in "ÐÞðþ"
    return character if character.isascii() or accented else f"U+{ord(character):04X}"


def markdown(text: str) -> str:
    """``text`` as markdown shows it: no table cell ends, no link, no emphasis, no HTML begins."""
    escaped = "".join(
        f"\\{character}" if character in "\\`*_|<>~$&" else character
        for character in one_line(text, longest=10_000)
    )
    for opening in "([:":
        escaped = escaped.replace(f"]{opening}", f"\\]{opening}")
    return escaped
