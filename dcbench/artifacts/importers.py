"""Other people's synthetic sets: one small reader for each layout that they publish.

None of these files says which space its values live in. Each layout's usual one is assumed unless
told otherwise, recorded in the artifact, and doubted aloud where the values do not look like it.
Pixels enter the data set's own space, as their authors' code takes them there after loading: DSA's
amounts are meant for it. Files are read without executing anything.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dcbench.artifacts.artifact import KEYS, artifact_as_bytes, check_size
from dcbench.datasets.decoding import bombs_refused
from dcbench.images import ImageSpec, Space, SyntheticSet, class_weights
from dcbench.system.errors import FileFormatError, MismatchError, UnknownNameError
from dcbench.system.files import read_foreign_tensors, write_bytes

Where = Literal["pixels", "raw", "normalised", "zca", "zca-pixels"]
WHERE: tuple[Where, ...] = ("pixels", "raw", "normalised", "zca", "zca-pixels")
MOST_UNPACKED_BYTES = 256 << 20  # of an .npz whatever its size, and beyond that
MOST_TIMES_PACKED = 50  # so many times its size


@dataclass(frozen=True)
class Foreign:
    """What a foreign file holds, before it is judged."""

    images: Tensor  # N×C×H×W
    labels: Tensor  # N, or N×K
    recipe: Mapping[str, Any] = field(default_factory=dict)
    parts: int = 1  # images that were one in the file
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A way in which a project publishes its sets."""

    name: str
    what: str
    # Where its values usually live. pixels: in [0, 1], to be normalised; raw: in [0, 1], to be
    # trained on as they are; zca: whitened after normalisation, as DataDAM's code does; zca-pixels:
    # without, as MTT's does.
    space: Where
    read: Callable[[Path, ImageSpec], Foreign]
    # the set of one experiment, where a file may hold those of several
    several: Callable[[Path, int], Foreign] | None = None
    centred: bool = False  # its labels are rows less 1/classes
    doubt: str = ""  # of every set in this layout


@dataclass(frozen=True)
class Imported:
    """A foreign set as one of ours, with what looks wrong about it."""

    synthetic: SyntheticSet
    layout: str
    warnings: tuple[str, ...]
    parts: int = 1  # images that were one in the file


def import_set(
    path: Path,
    layout: Layout,
    spec: ImageSpec,
    space: Space,
    *,
    pixels: bool = False,
    experiment: int | None = None,
) -> Imported:
    """The set at ``path``, whose values live in ``space`` or are ``pixels`` that enter it, as
    images of ``spec``.

    ``experiment``: which of the sets of a file with several, from 0; its last if not given. Raises FileFormatError naming the file and
    what is wrong with it, MismatchError if the layout has no experiments.
    """
    if experiment is not None and layout.several is None:
        raise MismatchError(
            f"the layout {layout.name} holds one set in a file, not experiments: leave out --experiment"
        )
    foreign = (
        layout.read(path, spec)
        if experiment is None or layout.several is None
        else layout.several(path, experiment)
    )
    images, whole = _as_floats(foreign.images.detach(), pixels or space.kind == "raw", path)
    if images.ndim != 4 or tuple(images.shape[1:]) != spec.shape:
        raise FileFormatError(
            f"{path}: images of {tuple(images.shape)}, wanted N×{'×'.join(map(str, spec.shape))} for {spec.dataset}"
        )
    if not len(images) or not bool(images.isfinite().all()):
        raise FileFormatError(f"{path}: no images, or values that are not finite")
    labels, doubts = _labels(foreign.labels.detach(), len(images), spec, layout, path)
    synthetic = SyntheticSet(
        spec, space.enter(images).contiguous() if pixels else images, labels, space, foreign.recipe
    )
    strange = _strange_values(images, Space() if pixels else space)
    said = (
        *filter(None, [layout.doubt]),
        *foreign.doubts,
        *whole,
        *doubts,
        *_unequal(synthetic),
        *strange,
    )
    return Imported(synthetic, layout.name, said, foreign.parts)


def _as_floats(images: Tensor, pixels: bool, path: Path) -> tuple[Tensor, list[str]]:
    """Values as float32, and what was odd about them: bytes are pixels of 0 to 255, and nothing
    else.
    """
    if images.is_floating_point():
        return images.float().contiguous(), []
    if not pixels:
        raise FileFormatError(
            f"{path}: images are whole numbers, which no normalised values are; they may be bytes: --space pixels"
        )
    return images.float().contiguous() / 255, [
        "images are stored as whole numbers; read as bytes, 255 for white"
    ]


def write_imported(
    path: Path, imported: Imported, name: str, holdout: str = "", over: bool = True
) -> None:
    """Write a foreign set as an artifact under the method's name ``name``; what nobody knows of it
    stays unsaid.

    Raises MismatchError if ``path`` holds something else that it may not be written ``over``.
    """
    content = _as_bytes(imported, name, holdout)
    if not over and path.exists() and not (path.is_file() and path.read_bytes() == content):
        raise MismatchError(
            f"{path} holds something else already; say where to write with --to, or another --name"
        )
    write_bytes(path, content)


def keep_imported(folder: Path, stem: str, imported: Imported, name: str) -> Path:
    """The same into ``folder``, under a name that ends with the file's checksum: other people's
    files are all called alike.
    """
    content = _as_bytes(imported, name)
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.pt"
    write_bytes(path, content)
    return path


def _as_bytes(imported: Imported, name: str, holdout: str = "") -> bytes:
    synthetic = imported.synthetic
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    known = {
        "method": name,
        "layout": imported.layout,
        "dataset": synthetic.spec.dataset,
        "revision": synthetic.spec.revision,
        # as stored, which is what the literature compares
        "ipc": -(-int(counts.max()) // imported.parts),
        "holdout": holdout,
        "warnings": list(imported.warnings),
    }
    return artifact_as_bytes(synthetic, known)


def find_layout(name: str) -> Layout:
    """The layout called ``name``; raises UnknownNameError."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return LAYOUTS[name]


def _labels(
    labels: Tensor, count: int, spec: ImageSpec, layout: Layout, path: Path
) -> tuple[Tensor, list[str]]:
    """Hard labels as int64, soft ones as float32 rows, and what was odd about them."""
    if labels.ndim == 2 and labels.shape == (count, spec.classes):
        return _rows(labels.float(), layout.centred, path)
    if labels.shape != (count,):
        raise FileFormatError(
            f"{path}: labels of {tuple(labels.shape)} for {count} images, wanted {count} or {count}×{spec.classes}"
        )
    whole = labels.long()
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels):
        raise FileFormatError(
            f"{path}: labels are fractions, and not one row of {spec.classes} per image"
        )
    if int(whole.min()) < 0 or int(whole.max()) >= spec.classes:
        raise FileFormatError(
            f"{path}: labels from {int(whole.min())} to {int(whole.max())}, but {spec.dataset} has {spec.classes} classes"
        )
    return whole, [
        "labels are stored as floats; read as whole numbers"
    ] if labels.is_floating_point() else []


def _rows(rows: Tensor, centred: bool, path: Path) -> tuple[Tensor, list[str]]:
    """Rows that sum to one, or the class if that is all they say: centred ones shifted back, others
    softened if they must be logits.
    """
    if not bool(rows.isfinite().all()):
        raise FileFormatError(f"{path}: soft labels hold values that are not finite")
    classes, hard = rows.shape[1], rows.argmax(1)
    if centred:
        if torch.allclose(
            rows, torch.nn.functional.one_hot(hard, classes) - 1 / classes, atol=1e-3
        ):
            return hard, []
        return class_weights(rows), [
            "labels are learned; read as probabilities less 1/classes, negative ones cut off"
        ]
    if bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all()):
        return rows, []
    return rows.softmax(1), ["labels are rows that do not sum to one; read as logits"]


def _unequal(synthetic: SyntheticSet) -> list[str]:
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    if int(counts.min()) == int(counts.max()):
        return []
    return [f"images per class are unequal: {int(counts.min())} to {int(counts.max())}"]


def _strange_values(values: Tensor, space: Space) -> list[str]:
    """Half the range of pixels outside it is reason enough to ask."""
    doubt = space.doubt(values, beyond=0.5)
    advice = "--space pixels" if doubt.endswith("pixels?") else "another --space?"
    if space.kind == "raw" and float(values.max()) > 100:
        advice = "bytes as fractions? divide them by 255"
    return [f"{doubt} ({advice})"] if doubt else []


def _read(path: Path) -> Any:
    check_size(path)
    value = read_foreign_tensors(path)
    if isinstance(value, Mapping) and set(value) == KEYS:
        raise FileFormatError(
            f"{path} is an artifact of dcbench already; dcbench evaluate and nas take it as it is, without --as"
        )
    if not all(map(_stands_there, _tensors_in(value))):
        raise FileFormatError(
            f"{path} holds a tensor whose numbers do not all stand in the file (sparse, or expanded from fewer)"
        )
    return value


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from (tensor for entry in value.values() for tensor in _tensors_in(entry))
    elif isinstance(value, list | tuple):
        yield from (tensor for entry in value for tensor in _tensors_in(entry))


def _stands_there(tensor: Tensor) -> bool:
    strided = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return strided and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _pair(value: Any, path: Path) -> Foreign:
    if not (
        isinstance(value, Sequence)
        and len(value) >= 2
        and all(isinstance(part, Tensor) for part in value[:2])
    ):
        raise FileFormatError(
            f"{path}: wanted a pair of tensors, images and labels, got {type(value).__name__}"
        )
    return Foreign(value[0], value[1])


def _tensor(path: Path) -> Tensor:
    value = _read(path)
    if not isinstance(value, Tensor):
        raise FileFormatError(f"{path} holds a {type(value).__name__}, wanted a tensor")
    return value


def _experiments(path: Path, _spec: ImageSpec) -> Foreign:
    """DC, DSA, DM: ``{"data": [[images, labels], …]}``, one pair per experiment; the last is used,
    as in DC-BENCH.
    """
    return _experiment(path, None)


def _experiment(path: Path, which: int | None) -> Foreign:
    value = _read(path)
    data = value.get("data") if isinstance(value, Mapping) else None
    if not isinstance(data, Sequence) or not data:
        got = (
            f"one with {', '.join(map(str, value))[:80]}"
            if isinstance(value, Mapping)
            else type(value).__name__
        )
        raise FileFormatError(f"{path}: wanted a dict with a list called data, got {got}")
    pairs = [data] if isinstance(data[0], Tensor) else data
    if which is not None and not 0 <= which < len(pairs):
        raise FileFormatError(
            f"{path} holds {len(pairs)} experiments, 0 to {len(pairs) - 1}; got --experiment {which}"
        )
    one = _pair(pairs[-1 if which is None else which], path)
    doubt = f"holds {len(pairs)} experiments, the last is read; --experiment 0 to {len(pairs) - 1} chooses"
    return replace(one, doubts=(doubt,)) if which is None and len(pairs) > 1 else one


def _datadam(path: Path, spec: ImageSpec) -> Foreign:
    """DataDAM: ``{"data": [images, labels]}``, or two bare tensors ``…_images.pt`` and
    ``…_labels.pt``.
    """
    if path.name.endswith("images.pt"):
        return Foreign(_tensor(path), _tensor(_beside(path, "images", "labels")))
    return _experiments(path, spec)


def _mtt(path: Path, _spec: ImageSpec) -> Foreign:
    """MTT: ``images_best.pt`` and ``labels_best.pt``, sometimes in shards; DATM: with
    ``lr_best.pt``, or all three without ``_best``.
    """
    folder = path if path.is_dir() else path.parent
    images = [path] if path.is_file() else _shards(folder, "images")
    tensors = [_tensor(shard) for shard in images]
    labels = [_tensor(_beside(shard, "images", "labels")) for shard in images]
    rates = [
        rate
        for rate in (images[0].with_name(images[0].name.replace("images", "lr")), folder / "lr.pt")
        if rate.is_file()
    ]
    doubts = (
        ()
        if rates
        else (
            "no learning rate lies beside it, which such sets are made for; networks learn at the protocol's",
        )
    )
    return Foreign(
        torch.cat(tensors),
        torch.cat(labels),
        {"lr": _rate(rates[0])} if rates else {},
        doubts=doubts,
    )


def _shards(folder: Path, stem: str) -> list[Path]:
    for pattern in (f"{stem}_best.pt", f"{stem}_best_*.pt", f"{stem}.pt"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    raise FileFormatError(f"{folder}: no {stem}_best.pt, {stem}_best_0.pt or {stem}.pt")


def _rate(path: Path) -> float:
    rate = float(_tensor(path).reshape(-1)[0])
    if not (math.isfinite(rate) and rate > 0):
        raise FileFormatError(f"{path}: a learning rate of {rate}")
    return rate


def _beside(path: Path, word: str, other: str) -> Path:
    beside = path.with_name(path.name.replace(word, other))
    if not beside.is_file():
        raise FileFormatError(f"{path}: its labels were looked for in {beside}, which is not there")
    return beside


def _kip(path: Path, _spec: ImageSpec) -> Foreign:
    """KIP: ``.npz`` with ``images`` N×H×W×C and ``labels`` centred one-hot; the class is the
    largest entry.
    """
    stored = _arrays(path)
    if stored.images.ndim != 4:
        raise FileFormatError(f"{path}: images of {tuple(stored.images.shape)}, wanted N×H×W×C")
    return replace(stored, images=stored.images.permute(0, 3, 1, 2))


def _plain(path: Path, spec: ImageSpec) -> Foreign:
    """Anybody's: ``images`` and ``labels`` in an ``.npz`` or a dict, or a pair of tensors; N×C×H×W,
    or N×H×W×C, by their shape.
    """
    value = None if path.suffix == ".npz" else _read(path)
    named = (
        [value["images"], value["labels"]]
        if isinstance(value, Mapping) and {"images", "labels"} <= set(value)
        else value
    )
    if isinstance(named, Mapping):
        raise FileFormatError(
            f"{path}: wanted a dict with images and labels, got {', '.join(map(str, named))[:80] or 'an empty one'}"
        )
    stored = _arrays(path) if value is None else _pair(named, path)
    channels, size, _ = spec.shape
    last = tuple(stored.images.shape[1:]) == (size, size, channels) != spec.shape
    return replace(stored, images=stored.images.permute(0, 3, 1, 2)) if last else stored


def _arrays(path: Path) -> Foreign:
    """The arrays ``images`` and ``labels`` of an ``.npz``, as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > max(MOST_UNPACKED_BYTES, MOST_TIMES_PACKED * path.stat().st_size):
            raise FileFormatError(
                f"{path}: {path.stat().st_size} bytes that unpack to {unpacked}; refused as a bomb"
            )
        with np.load(path, allow_pickle=False) as stored:
            return Foreign(torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"]))
    # RuntimeError: what zipfile raises for an archive that is encrypted, or packed in a way that it
    # does not know
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise FileFormatError(
            f"{path} is not an .npz with plain arrays images and labels ({error})"
        ) from error


def _idc(path: Path, _spec: ImageSpec, factor: int) -> Foreign:
    """IDC: ``data.pt`` with images in [0, 1] and targets. Each image is a square of ``factor``²
    smaller ones, here taken apart.
    """
    packed = _pair(_read(path / "data.pt" if path.is_dir() else path), path)
    parts = _quarters(packed.images.float(), factor)
    return Foreign(parts, packed.labels.repeat_interleave(factor**2), parts=factor**2)


def _quarters(images: Tensor, factor: int) -> Tensor:
    """The factor×factor parts of each image, enlarged to the whole image's size (bilinearly, as IDC
    decodes).
    """
    size = images.shape[-1]
    side = math.ceil(size / factor)
    padded = torch.nn.functional.pad(images, (0, side * factor - size) * 2, value=0.5)
    parts = [
        padded[..., row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(factor)
        for column in range(factor)
    ]
    stacked = torch.stack(parts, 1).flatten(0, 1)
    return torch.nn.functional.interpolate(
        stacked, size=(size, size), mode="bilinear", align_corners=False
    )


def _folder(path: Path, spec: ImageSpec) -> Foreign:
    """SRe2L, RDED, D4M: a folder of images for each class, called as the class is, or all by other
    names in the classes' order.
    """
    if not path.is_dir():
        raise FileFormatError(f"{path} is not a folder with one folder of images per class")
    folders = sorted((entry for entry in path.iterdir() if entry.is_dir()), key=_numbers_by_value)
    if len(folders) != spec.classes:
        raise FileFormatError(
            f"{path}: {len(folders)} folders, but {spec.dataset} has {spec.classes} classes"
        )
    images, labels = [], []
    for label, folder in zip(
        _classes([folder.name for folder in folders], spec, path), folders, strict=True
    ):
        for file in _pictures(folder):
            images.append(_picture(file, spec))
            labels.append(label)
    if not images:
        raise FileFormatError(f"{path}: no .png or .jpg in its folders")
    return Foreign(torch.stack(images).float() / 255, torch.tensor(labels))


def _classes(names: Sequence[str], spec: ImageSpec, path: Path) -> list[int]:
    """The class of each folder: by its name if all are names of classes, by its place if none is; a
    mixture would count a class twice.
    """
    known = {name: index for index, name in enumerate(spec.class_names)}
    strange = [name for name in names if name not in known]
    if strange and len(strange) < len(names):
        raise FileFormatError(
            f"{path}: folder {strange[0]!r} is no class of {spec.dataset}, though others are; wanted the names of the classes, "
            f"such as {spec.class_names[0]!r}, or none of them, in their order"
        )
    return list(range(len(names))) if strange else [known[name] for name in names]


def _picture(file: Path, spec: ImageSpec) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    try:
        # other formats' readers may start other programs
        with bombs_refused(), Image.open(file, formats=("PNG", "JPEG")) as opened:
            # known from the head, before anything is unpacked
            if opened.size != (spec.size, spec.size):
                raise FileFormatError(
                    f"{file}: an image of {opened.size[0]}×{opened.size[1]}, wanted {spec.size}×{spec.size}"
                )
            pixels = np.asarray(opened.convert("L" if spec.channels == 1 else "RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FileFormatError(
            f"{file} claims far more pixels than the {spec.size}×{spec.size} that are wanted"
        ) from error
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise FileFormatError(f"{file} is not a readable image") from error
    return (
        torch.from_numpy(pixels.copy()).view(spec.size, spec.size, spec.channels).permute(2, 0, 1)
    )


def _pictures(folder: Path) -> Iterator[Path]:
    yield from sorted(
        file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg")
    )


def _numbers_by_value(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdecimal() else (1 << 30, folder.name)


_KIP_SPACE = (
    "KIP's code centres each image, scales it to a norm of one, and then whitens; no space here does that, "
    "so a set that it whitened scores less than was published"
)
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "dc",
            "DC, DSA: a dict with a list of [images, labels]",
            "normalised",
            _experiments,
            _experiment,
        ),
        Layout("dm", "DM: the same", "normalised", _experiments, _experiment),
        Layout(
            "datadam",
            "DataDAM: a dict with [images, labels], or …images.pt and …labels.pt",
            "normalised",
            _datadam,
            _experiment,
        ),
        Layout(
            "mtt",
            "MTT, DATM: images_best.pt, labels_best.pt, lr_best.pt, or images.pt, labels.pt, lr.pt",
            "zca-pixels",
            _mtt,
        ),
        Layout(
            "kip",
            "KIP: .npz with images N×H×W×C and centred labels",
            "zca",
            _kip,
            centred=True,
            doubt=_KIP_SPACE,
        ),
        Layout(
            "idc",
            "IDC: data.pt with images in [0, 1], four in one (factor 2)",
            "pixels",
            partial(_idc, factor=2),
        ),
        Layout("idc3", "the same, nine in one (factor 3)", "pixels", partial(_idc, factor=3)),
        Layout("folder", "SRe2L, RDED, D4M: a folder of images per class", "pixels", _folder),
        Layout(
            "plain", "anybody's: images and labels in a dict, a pair or an .npz", "pixels", _plain
        ),
    )
}
