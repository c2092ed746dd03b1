"""Proxies: the small sets that architectures are trained on instead of the whole data.

A proxy is a synthetic set from a file, or a built-in one of real training images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor

from dcbench.artifacts.artifact import Artifact, read_artifact
from dcbench.datasets.catalogue import DATASETS, installed
from dcbench.datasets.catalogue import find as find_dataset
from dcbench.datasets.loading import Loaded
from dcbench.evaluation.evaluate import check_fit
from dcbench.experiments.context import set_label
from dcbench.families.selection import chosen_set, random_members
from dcbench.images import Space, TrainSet
from dcbench.records.search import WITHOUT_SEED
from dcbench.run import Run, fingerprint
from dcbench.system.errors import MismatchError, OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine
from dcbench.training.trainer import ValuesOf

Kind = Literal["artifact", "random", "early-stopping", "whole"]
BUILT_IN = ("random", "early-stopping", "whole")
LABEL_BYTES = 8


@dataclass(frozen=True)
class Request:
    """One proxy as the user names it."""

    kind: Kind
    text: str
    ipc: int | None = None  # of the proxy random

    @property
    def path(self) -> Path:
        return Path(self.text)


@dataclass(frozen=True, eq=False)
class Proxy:
    """Images to train architectures on, and their description for the record."""

    name: str  # the method that made it, or the built-in's name
    labels: Tensor
    images: Tensor | TrainSet  # a set's own, or real ones, which are kept as bytes
    space: Space  # the space of the images' values; validation images are transformed into it
    content: str  # a hash of what decides the accuracies of networks trained on it
    storage_images: int
    # of images and labels alone: one byte per value of real images, four of synthetic ones
    storage_bytes: int
    ipc: int | None = None
    seed: int | None = None
    preset: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""  # of the method, where its own user registered one
    holdout: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    epoch_images: int | None = None  # if an epoch is not a pass over all images
    # trained for the protocol's epochs on the whole data, and tested too: the truth, if it is
    # trained here
    whole: bool = False
    warnings: tuple[str, ...] = ()

    def placed(self, machine: Machine) -> ValuesOf:
        """Return the images' values on the device."""
        if isinstance(self.images, TrainSet):
            return self.images.held_on(machine).values
        images = machine.place(self.images)
        return lambda chosen: images[chosen.to(images.device)]

    @property
    def images_per_epoch(self) -> int:
        return self.epoch_images or len(self.labels)

    @property
    def label(self) -> str:
        """A short description of the proxy, for messages."""
        return set_label(self.name, self.ipc, self.seed)


def parse_requests(words: Sequence[str]) -> list[Request]:
    """Return the proxies that ``words`` name, each once.

    Raises OutOfRangeError or UnknownNameError if a word is wrong in itself.
    """
    requests = list(dict.fromkeys(_parse(word) for word in words))
    for request in requests:
        needs_size = request.kind in ("early-stopping", "random") and request.ipc is None
        if needs_size and _sized(requests) is None:
            raise OutOfRangeError(
                f"proxy {request.text} takes its size from another proxy: name an artifact or "
                "random:IPC too"
            )
    return requests


def _parse(word: str) -> Request:
    name, colon, number = word.partition(":")
    if name in ("early-stopping", "whole") and not colon:
        return Request(cast(Kind, name), word)
    if name != "random":
        return _file(word)
    if not colon:
        return Request("random", word)
    if not number.isascii() or not number.isdigit() or int(number) < 1:
        raise OutOfRangeError(
            f"proxy {word!r} needs a number of images per class of at least 1, as in random:10"
        )
    return Request("random", word, int(number))


def _file(word: str) -> Request:
    """Return the artifact's path. A word that could also be a name is a path only if that file
    exists.
    """
    path = Path(word)
    if len(path.parts) == 1 and not path.suffix and not path.exists():
        raise UnknownNameError(
            "proxy (and no such file)", word.partition(":")[0], (*BUILT_IN, "FILE.pt")
        )
    return Request("artifact", word)


def _sized(requests: Sequence[Request]) -> Request | None:
    """Return the proxy from which the others take their size: the first artifact, else the first
    random with a number.
    """
    artifacts = [request for request in requests if request.kind == "artifact"]
    numbered = [request for request in requests if request.ipc is not None]
    return next(iter([*artifacts, *numbered]), None)


def open_artifacts(
    requests: Sequence[Request], dataset: str | None
) -> tuple[str, dict[Request, Artifact]]:
    """Read the artifacts among ``requests`` and return them with their common data set (``dataset``
    if given).

    Raises FileFormatError, MismatchError naming the artifact of another data set, OutOfRangeError
    if nothing names the data set.
    """
    if dataset is not None:
        find_dataset(dataset)
    elif all(request.kind != "artifact" for request in requests):
        raise OutOfRangeError(
            "--dataset is needed: none of the proxies is an artifact that names one"
        )
    named = [request for request in requests if request.kind == "artifact"]
    found = {request: read_artifact(request.path) for request in named}
    for request, artifact in found.items():
        own = artifact.synthetic.spec.dataset
        dataset = dataset or own
        if own != dataset and find_dataset(dataset).name != own:
            raise MismatchError(
                f"proxy {request.text} was made from {own!r:.60}, not {dataset}; all proxies must "
                "be of one data set"
            )
        if own == dataset and own not in (*DATASETS, *installed()):
            raise MismatchError(
                f"proxy {request.text} was made from {own!r:.60}, which is no data set of this "
                f"dcbench; of your own data say the folder: --dataset ./{own:.60}"
            )
    return str(dataset), found


def make_proxies(
    requests: Sequence[Request], artifacts: Mapping[Request, Artifact], loaded: Loaded, run: Run
) -> list[Proxy]:
    """Make the proxies; built-in ones are in the space of the first artifact.

    So proxies differ in their images alone. ``run`` decides which images ``random`` draws. Raises
    MismatchError if an artifact's images do not fit the data set.
    """
    sized = _sized(requests)
    first = artifacts.get(sized) if sized else None
    space = first.synthetic.space if first else loaded.train.space
    train = replace(loaded.train, space=space)
    made: dict[Request, Proxy] = {
        request: _from_artifact(request, artifact, loaded)
        for request, artifact in artifacts.items()
    }
    size = len(first.synthetic) if first else (sized.ipc or 0) * loaded.spec.classes if sized else 0
    for request in requests:
        if request.kind == "random":
            made[request] = _random(train, request.ipc or _per_class(size, loaded, sized), run)
        elif request.kind == "early-stopping":
            made[request] = _real("early-stopping", train, epoch_images=size)
        elif request.kind == "whole":
            made[request] = whole(loaded)
    return [made[request] for request in requests]


def whole(loaded: Loaded) -> Proxy:
    """Return all training images except the validation part, in the data set's own space: the truth
    is trained on them.
    """
    return replace(_real("whole", loaded.train), whole=True)


def _from_artifact(request: Request, artifact: Artifact, loaded: Loaded) -> Proxy:
    synthetic, origin = artifact.synthetic, artifact.provenance
    if origin.get("method") in WITHOUT_SEED and origin.get("method_version") is None:
        name = origin["method"]
        raise MismatchError(
            f"proxy {request.text} is called {name}, as the real data is here; import it under "
            "another name with --name"
        )
    try:
        check_fit(synthetic, loaded.test)
    except MismatchError as error:
        raise MismatchError(f"proxy {request.text}: {error}") from error
    revision, step = synthetic.spec.revision, _number(origin.get("step"))
    other = (
        f"the proxy was made from another revision of {loaded.spec.dataset} ({revision:.40}, here "
        f"{loaded.spec.revision})"
    )
    return Proxy(
        name=str(origin.get("method") or "foreign")[:100],
        labels=synthetic.in_training.labels,
        images=synthetic.in_training.images,
        space=synthetic.space,
        content=artifact.sha256,
        storage_images=len(synthetic),
        storage_bytes=4 * synthetic.images.numel()
        + synthetic.labels.element_size() * synthetic.labels.numel(),
        ipc=_number(origin.get("ipc")) or None,
        seed=_number(origin.get("seed")),
        preset=_text(origin.get("preset")),
        fields=_plain(origin.get("fields")) | ({"stopped_after": step} if step is not None else {}),
        title=(_text(origin.get("title")) or "")[:200],
        holdout=_text(origin.get("holdout")) or "",
        recipe=dict(synthetic.recipe),
        warnings=() if revision == loaded.spec.revision else (other,),
    )


def _random(train: TrainSet, ipc: int, run: Run) -> Proxy:
    train.require(ipc)
    synthetic = chosen_set(train, random_members(train, ipc, run))
    return replace(
        _real("random", train),
        labels=synthetic.labels,
        images=synthetic.images,
        content=synthetic.content_hash,
        storage_images=len(synthetic),
        storage_bytes=len(synthetic) * _bytes_per_image(train),
        ipc=ipc,
        seed=run.seed,
    )


def _real(name: str, train: TrainSet, epoch_images: int | None = None) -> Proxy:
    decides = {
        "name": name,
        "revision": train.spec.revision,
        "holdout": train.holdout,
        "space": train.space.fingerprint,
    }
    # a set's whitening may come from other images; its last digits depend on the machine
    if train.space.zca_matrix is not None:
        decides["whitening"] = f"{float(train.space.zca_matrix.double().trace()):.5g}"
    return Proxy(
        name=name,
        labels=train.labels,
        images=train,
        space=train.space,
        content=fingerprint({**decides, "epoch_images": epoch_images}),
        storage_images=len(train),
        storage_bytes=len(train) * _bytes_per_image(train),
        holdout=train.holdout,
        epoch_images=epoch_images,
    )


def _bytes_per_image(train: TrainSet) -> int:
    return train.images[0].numel() + LABEL_BYTES


def _per_class(images: int, loaded: Loaded, sized: Request | None) -> int:
    ipc, rest = divmod(images, loaded.spec.classes)
    if rest or not ipc:
        named = sized.text if sized else "the first proxy"
        raise MismatchError(
            f"{named} has {images} images for {loaded.spec.classes} classes: say how many random "
            "takes, as in random:10"
        )
    return ipc


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _plain(value: object) -> dict[str, Any]:
    """Return another project's fields as far as a record can hold them: a search is long, and its
    record must not fail at the end.
    """
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None
