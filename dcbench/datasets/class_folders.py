"""Class folders and their image files, in data sets and in synthetic sets of other projects.

A folder's label is never guessed from its position: the folder must be named like the class.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dcbench.system.errors import DataError

# files that desktops, archives and network disks leave, besides names with a leading dot
_LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r"}
)
_READABLE = re.compile(r"|\.(a?png|jpe?g?|jfif|bmp|dib|gif|p[pgbn]m|tiff?|webp)", re.IGNORECASE)
_MOST_NAMED = 12


def is_litter(name: str) -> bool:
    """Return whether files and folders of this name are ignored everywhere."""
    return name.startswith(".") or name.casefold() in _LITTER


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in ``folder``; numbers in names sort by value."""
    found = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted((name for name in found if not is_litter(name)), key=_by_value)


def _by_value(name: str) -> tuple[list[str], list[int], str]:
    return re.split(r"\d+", name), [int(number) for number in re.findall(r"\d+", name)], name


def images_in(folder: Path) -> list[Path]:
    """Return the files of a class folder by name. A file that is no image is an error later, not
    skipped.
    """
    return sorted(path for path in folder.iterdir() if not is_litter(path.name))


def require_no_loose_images(folder: Path) -> None:
    """Raise DataError if images are beside the class folders in ``folder``: they have no label, and
    a set without them would have the same name.
    """
    beside = sorted(path.name for path in folder.iterdir() if path.is_file())
    loose = [name for name in beside if not is_litter(name) and _is_image(name)]
    if loose:
        raise DataError(
            f"{folder} holds {len(loose)} images beside its class folders ({listed(loose)}); "
            "sort them into the folders, or move them elsewhere"
        )


def _is_image(name: str) -> bool:
    suffix = Path(name).suffix
    return bool(suffix) and _READABLE.fullmatch(suffix) is not None


def class_by_class(folders: Iterable[Path]) -> list[tuple[Path, int]]:
    """Return the files of each class's folder; the folder's position in the list is their label.

    Raises DataError if a file is of a kind that is not read.
    """
    found = [(path, label) for label, folder in enumerate(folders) for path in images_in(folder)]
    others = [path for path, _ in found if not _READABLE.fullmatch(path.suffix)]
    if others:
        kinds = Counter(path.suffix.lower() for path in others)
        counted = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
        raise DataError(
            f"{others[0]} is of a kind that is not read ({counted}, among {len(found)} files); "
            "convert such files to .png, or move them elsewhere"
        )
    return found


def alike(name: str) -> str:
    """Return ``name`` without case, spaces, hyphens and underscores, for comparisons."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def labels_of(
    folders: Sequence[str],
    class_names: Sequence[str],
    aliases: Mapping[str, int],
    numbered: bool = True,
) -> list[int] | None:
    """Return the label of each folder by its name; None unless every class has exactly one folder.

    Args:
        folders: Names of folders.
        class_names: In the order of labels.
        aliases: Other names of classes, such as WordNet ids, with their labels.
        numbered: Whether names that differ only in a number from 0 on are labels.
    """
    known = {alike(name): label for name, label in aliases.items()}
    known |= {alike(name): label for label, name in enumerate(class_names)}
    named = [known.get(alike(folder), -1) for folder in folders]
    for labels in (named, _numbers(folders) if numbered else []):
        if sorted(labels) == list(range(len(class_names))):
            return labels
    return None


def _numbers(names: Sequence[str]) -> list[int]:
    """Return the number in each name, if the names differ in it alone."""
    parts = [re.fullmatch(r"(\D*)(\d+)(\D*)", name) for name in names]
    found = [part for part in parts if part]
    alone = len(found) == len(names) and len({(part[1], part[3]) for part in found}) == 1
    return [int(part[2]) for part in found] if alone else []


def side_by_side(folders: Sequence[str], class_names: Sequence[str]) -> str:
    """Format both lists of names for a message, beginning with names that only one has."""
    pairs = ((folders, class_names), (class_names, folders))
    first, second = (sorted(names, key=partial(_is_among, others)) for names, others in pairs)
    return f"folders {listed(first)}; classes {listed(second)}"


def _is_among(others: Sequence[str], name: str) -> bool:
    return alike(name) in map(alike, others)


def listed(names: Sequence[str]) -> str:
    """Format the first of many names for a message, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
