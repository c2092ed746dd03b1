"""The requirements on every set that a method returns.

The harness refuses a set that breaks one; ``dcbench check`` reports which.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dcbench.artifacts.artifact import check_recipe
from dcbench.images import SyntheticSet, TrainSet
from dcbench.system.errors import DivergedError, FileFormatError, MismatchError

# returns what is wrong, or an empty text; without a budget the training set's own numbers hold
Aspect = Callable[[SyntheticSet, TrainSet, int | None], str]


def require_promised(made: object, train: TrainSet, ipc: int | None) -> SyntheticSet:
    """Return ``made`` if it is a valid set of ``ipc`` images for each class of ``train``.

    Raises:
        MismatchError: Naming what is wrong.
        DivergedError: If values are not finite.
    """
    wrong = wrong_type(made, train)
    if isinstance(made, SyntheticSet) and not wrong:
        wrong = "; ".join(filter(None, (aspect(made, train, ipc) for aspect in ASPECTS)))
        diverged = "" if wrong else wrong_values(made, train, ipc)
        if diverged:
            raise DivergedError(f"the set has {diverged}")
        if not wrong:
            return made
    raise MismatchError(f"distill did not return what it promises: {wrong}; see dcbench check")


def wrong_type(made: object, train: TrainSet) -> str:
    """Return what is wrong with the types; empty if nothing is."""
    if not isinstance(made, SyntheticSet):
        return (
            f"it returned {'nothing' if made is None else f'a {type(made).__name__}'}, wanted a "
            "SyntheticSet"
        )
    images, labels = made.images, made.labels
    if not (isinstance(images, Tensor) and isinstance(labels, Tensor)):
        return (
            f"images are a {type(images).__name__} and labels a {type(labels).__name__}, wanted "
            "tensors"
        )
    hard = labels.dtype == torch.int64 and labels.ndim == 1
    soft = labels.dtype == torch.float32 and labels.shape[1:] == (train.spec.classes,)
    if len(labels) == len(images) and (hard or soft):
        return ""
    given = f"{labels.dtype} {tuple(labels.shape)} for {len(images)} images"
    return (
        f"labels are {given}, wanted a class (torch.int64) or a row of {train.spec.classes} class "
        "weights (torch.float32) for each"
    )


def wrong_shape(made: SyntheticSet, train: TrainSet, ipc: int | None) -> str:
    """Return what is wrong with the number or shape of the images; empty if nothing is."""
    wanted = (len(train) if ipc is None else ipc * train.spec.classes, *train.spec.shape)
    if tuple(made.images.shape) == wanted:
        return ""
    return f"images of shape {tuple(made.images.shape)}, wanted {wanted}"


def wrong_balance(made: SyntheticSet, train: TrainSet, ipc: int | None) -> str:
    """Return which class has too many or too few images or does not exist; empty if all is well."""
    labels = made.hard_labels.detach().cpu()
    wanted = [len(members) if ipc is None else ipc for members in train.by_class]
    if bool(((labels < 0) | (labels >= len(wanted))).any()):
        return (
            f"labels from {int(labels.min())} to {int(labels.max())}, but there are {len(wanted)} "
            "classes"
        )
    counts = torch.bincount(labels, minlength=len(wanted)).tolist()
    if counts == wanted:
        return ""
    return f"{counts} images of the classes, wanted {ipc or wanted} of each"


def wrong_values(made: SyntheticSet, _train: TrainSet, _ipc: int | None) -> str:
    """Return which values are not finite; empty if all are."""
    parts = [name for name, tensor in _tensors(made) if not bool(tensor.isfinite().all())]
    return f"{' and '.join(parts)} that are not finite" if parts else ""


def wrong_place(made: SyntheticSet, _train: TrainSet, _ipc: int | None) -> str:
    """Return which tensor is not float32 on the CPU without a graph; empty if all are."""
    wrong = [
        f"{name} on {tensor.device}{' with a gradient' * tensor.requires_grad}, wanted "
        ".detach().cpu()"
        for name, tensor in _tensors(made)
        if tensor.requires_grad or tensor.device.type != "cpu"
    ]
    return "; ".join(
        wrong
        + [f"images of {made.images.dtype}, wanted torch.float32"]
        * (made.images.dtype != torch.float32)
    )


def wrong_space(made: SyntheticSet, train: TrainSet, _ipc: int | None) -> str:
    """Return why the set is of other data or in another space than the training set; empty if it is
    not.
    """
    pixels = train.images[:2] / 255
    if made.spec != train.spec or made.space.name != train.space.name:
        return (
            f"a set of {made.spec.dataset} in the space {made.space.name}, wanted the training "
            "set's own"
        )
    if not torch.equal(made.space.enter(pixels), train.space.enter(pixels)):
        return "another space than the training set's"
    return ""


def wrong_recipe(made: SyntheticSet, _train: TrainSet, _ipc: int | None) -> str:
    """Return what in the recipe no protocol can follow; empty if nothing."""
    try:
        check_recipe(dict(made.recipe))
    except FileFormatError as error:
        return str(error)
    return ""


ASPECTS: tuple[Aspect, ...] = (wrong_shape, wrong_balance, wrong_place, wrong_space, wrong_recipe)


def _tensors(made: SyntheticSet) -> tuple[tuple[str, Tensor], ...]:
    return ("images", made.images), ("labels", made.labels)
