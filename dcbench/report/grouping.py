"""Groups items by their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items of each key, in the order given; keys in the order in which they are first met."""
    items = list(items)
    return grouped_by(map(key, items), items)


def grouped_by(keys: Iterable[Key], items: Iterable[Item]) -> dict[Key, list[Item]]:
    """Likewise, with a key given for each item."""
    found: dict[Key, list[Item]] = defaultdict(list)
    for key, item in zip(keys, items, strict=True):
        found[key].append(item)
    return dict(found)
