"""Declarations of data sets made from ImageNet-1K: the classes of the supplement's Table 1, in its
order.

The resolutions are the supplement's. It does not say how images are resized: here the middle square
of the photograph is resized (bilinear, antialiased), which equals resizing the shorter side and
cropping the centre. Tiny ImageNet's images are 64x64 already.
"""

from __future__ import annotations

from dcbench.datasets.declaration import Dataset

_IMAGENET = ("imagenet", "imagenet-1k", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")

_IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chainsaw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
_IMAGEWOOF = {
    "n02096294": "Australian terrier",
    "n02093754": "Border terrier",
    "n02111889": "Samoyed",
    "n02088364": "beagle",
    "n02086240": "Shih-Tzu",
    "n02089973": "English foxhound",
    "n02087394": "Rhodesian ridgeback",
    "n02115641": "dingo",
    "n02099601": "golden retriever",
    "n02105641": "English sheepdog",
}
_IMAGESQUAWK = {
    "n01806143": "peacock",
    "n02007558": "flamingo",
    "n01818515": "macaw",
    "n02051845": "pelican",
    "n02056570": "king penguin",
    "n01614925": "bald eagle",
    "n01843383": "toucan",
    "n01518878": "ostrich",
    "n01860187": "black swan",
    "n01819313": "cockatoo",
}
# These three are MTT's (Cazenave et al., CVPR 2022), by its repository's numbers of classes.
_IMAGEFRUIT = {
    "n07753275": "pineapple",
    "n07753592": "banana",
    "n07745940": "strawberry",
    "n07747607": "orange",
    "n07749582": "lemon",
    "n07768694": "pomegranate",
    "n07753113": "fig",
    "n07720875": "bell pepper",
    "n07718472": "cucumber",
    "n07742313": "green apple",
}
_IMAGEMEOW = {
    "n02123045": "tabby",
    "n02123159": "tiger cat",
    "n02123394": "Persian cat",
    "n02123597": "Siamese cat",
    "n02124075": "Egyptian cat",
    "n02129165": "lion",
    "n02129604": "tiger",
    "n02128925": "jaguar",
    "n02128757": "snow leopard",
    "n02127052": "lynx",
}
_IMAGEYELLOW = {
    "n02206856": "bee",
    "n12057211": "yellow lady's slipper",
    "n07753592": "banana",
    "n07749582": "lemon",
    "n12144580": "corn",
    "n04146614": "school bus",
    "n03530642": "honeycomb",
    "n02129165": "lion",
    "n01773157": "garden spider",
    "n01531178": "goldfinch",
}


def _subset(
    name: str, classes: dict[str, str], folders: tuple[str, ...], torchvision_class: str = ""
) -> Dataset:
    """Declare ten classes of ImageNet-1K at 128x128, in folders of their own or in those of the
    whole data set.
    """
    return Dataset(
        name=name,
        channels=3,
        size=128,
        class_names=tuple(classes.values()),
        flips=True,
        torchvision_class=torchvision_class,
        wordnet_ids=tuple(classes),
        tree="wordnet",
        folders=(*folders, name, *_IMAGENET),
        photographs=True,
    )


DECLARED = (
    Dataset(
        name="tinyimagenet",
        channels=3,
        size=64,
        class_names=(),
        flips=True,
        class_count=200,
        tree="tiny-imagenet",
        folders=("tiny-imagenet-200", "tinyimagenet"),
        per_class=(500, 50),
    ),
    Dataset(
        name="imagenet64",
        channels=3,
        size=64,
        class_names=(),
        flips=True,
        class_count=1000,
        tree="wordnet",
        folders=("imagenet64", *_IMAGENET),
        photographs=True,
    ),
    _subset(
        "imagenette",
        _IMAGENETTE,
        ("imagenette2", "imagenette2-320", "imagenette2-160"),
        "Imagenette",
    ),
    _subset("imagewoof", _IMAGEWOOF, ("imagewoof2", "imagewoof2-320", "imagewoof2-160")),
    _subset("imagesquawk", _IMAGESQUAWK, ()),
    _subset("imagefruit", _IMAGEFRUIT, ()),
    _subset("imagemeow", _IMAGEMEOW, ()),
    _subset("imageyellow", _IMAGEYELLOW, ()),
)
