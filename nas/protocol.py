"""How the networks of a search are trained. Ours: the paper gives no epochs, learning rate or
augmentation for these runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dcbench.system.errors import OutOfRangeError
from dcbench.training.trainer import Schedule


@dataclass(frozen=True)
class SearchProtocol:
    """One schedule for every proxy. Stored in every record; ``version`` is raised by hand when its
    numbers change.
    """

    name: str
    version: int
    schedule: Schedule
    truth_epochs: int  # on the whole data, which has far more steps in each
    augment: str = "dsa"

    def with_epochs(self, epochs: int | None, truth_epochs: int | None) -> SearchProtocol:
        """This protocol with the user's numbers of epochs; raises OutOfRangeError."""
        for name, value in (("epochs", epochs), ("truth epochs", truth_epochs)):
            if value is not None and value < 1:
                raise OutOfRangeError(f"{name} must be at least 1, got {value}")
        schedule = self.schedule if epochs is None else replace(self.schedule, epochs=epochs)
        return replace(self, schedule=schedule, truth_epochs=truth_epochs or self.truth_epochs)

    def on_the_whole(self) -> SearchProtocol:
        """This protocol as it is on the whole data."""
        return replace(self, schedule=replace(self.schedule, epochs=self.truth_epochs))

    def with_recipe(self, recipe: Mapping[str, Any]) -> SearchProtocol:
        """This protocol with what a set's own recipe asks for; its network is not asked for in a
        search.
        """
        schedule = replace(
            self.schedule, **{key: recipe[key] for key in ("lr", "batch") if key in recipe}
        )
        return replace(self, schedule=schedule, augment=recipe.get("augment", self.augment))

    def to_json(self, precision: str) -> dict[str, Any]:
        """What changes a network's accuracy, as plain values. The epochs on the whole data change
        none on a proxy.
        """
        plain = asdict(self)
        plain |= plain.pop("schedule")
        plain.pop("truth_epochs")
        return plain | {"precision": precision}
