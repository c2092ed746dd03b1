"""The user's description of a set in another project's layout; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.layout import CLASS_ORDERS, SPACE_WORDS, ImportOptions
from dcbench.datasets.catalogue import find
from dcbench.system.errors import OutOfRangeError, require_known


@dataclass(frozen=True)
class Description:
    """What a foreign file does not say of itself: its layout, its data set, the space of its
    values.
    """

    layout: str
    dataset: str | None = None
    space: str = SPACE_WORDS[0]
    name: str | None = None  # of the method in tables; None: the layout's
    experiment: int | None = None  # as of ImportOptions
    classes: str = CLASS_ORDERS[0]
    resize: bool = False

    def check(self, prefix: str = "--") -> None:
        """Raise UnknownNameError or OutOfRangeError if a field is wrong in itself. Messages name
        options with ``prefix``.
        """
        find_layout(self.layout)
        if self.dataset is None:
            raise OutOfRangeError(
                f"a set in the layout {self.layout} does not say what its images are of: name it "
                f"with {prefix}dataset"
            )
        find(self.dataset)
        for kind, word, known in (
            ("space", self.space, SPACE_WORDS),
            ("way to know classes", self.classes, CLASS_ORDERS),
        ):
            require_known(kind, word, known)

    @property
    def method(self) -> str:
        """The name of the set's method in tables."""
        return self.name or self.layout

    @property
    def options(self) -> ImportOptions:
        """The options of the layout's reader."""
        return ImportOptions(self.experiment, self.classes == CLASS_ORDERS[1], self.resize)
