"""The declaration of a data set: what is known of it without opening a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Dataset:
    """A data set as the catalogue declares it: its shape and classes, and the folders it may be in.

    A data set without folders comes with an installed library.
    """

    name: str
    channels: int
    size: int  # pixels per side
    # empty: classes are named after their folders; ``class_count`` is their number
    class_names: tuple[str, ...]
    flips: bool  # whether a mirrored image keeps its class
    # per channel, of pixels in [0, 1]; empty: computed from the training images
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    # its repositories on the Hugging Face hub, as folders under the data root
    hub_names: tuple[str, ...] = ()
    hub_config: str = ""  # the folder of the repository that holds the parquet files
    # the commit of the last of these repositories that --download takes, and its files by their
    # paths there, with the sha256 of each
    hub_revision: str = ""
    hub_files: Mapping[str, str] = field(default_factory=dict, hash=False)
    label_column: str = "label"
    torchvision_class: str = ""  # name of its class in torchvision.datasets
    # the folder in which that class stores its files, unless they are folders of images
    torchvision_folder: str = ""
    class_count: int = 0
    # images to train on and to test: of every class, or of each in the order of labels; zeros: it
    # is not said
    per_class: tuple[int | tuple[int, ...], int | tuple[int, ...]] = (0, 0)
    # the names of its class folders, in the order of ``class_names``
    wordnet_ids: tuple[str, ...] = ()
    tree: Literal["", "tiny-imagenet", "wordnet"] = ""  # how its published folders are laid out
    folders: tuple[str, ...] = ()  # their names under the data root
    # in the order of ``class_names``: other names that people give the class
    synonyms: tuple[tuple[str, ...], ...] = ()
    # images have any size: the middle square of each is resized
    photographs: bool = False
    place: str = ""  # the folder of a user's own data set
    # class folders are in the order of labels, whatever their names, because the user says so
    by_position: bool = False
    title: str = ""  # its usual spelling, for tables, if that differs from the name

    @property
    def classes(self) -> int:
        return self.class_count or len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    @property
    def aliases(self) -> dict[str, int]:
        """Other names of classes, with their labels."""
        others = enumerate(self.synonyms)
        return {
            **{id_: label for label, id_ in enumerate(self.wordnet_ids)},
            **{name: label for label, names in others for name in names},
        }

    @property
    def numbered(self) -> bool:
        """Whether numbers in folder names are labels.

        They are not if other projects number the WordNet ids in an order of their own.
        """
        return list(self.wordnet_ids) == sorted(self.wordnet_ids)

    @property
    def embedded(self) -> bool:
        """Whether it comes with an installed library and needs no data root."""
        return not (self.hub_names or self.torchvision_class or self.folders or self.place)
