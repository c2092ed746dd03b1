"""Guess the layout of a file or folder, for messages only."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dcbench.artifacts.importers.folder import holds_class_folders
from dcbench.system.errors import FileFormatError
from dcbench.system.files import read_foreign_tensors


def likely_layout(path: Path) -> str:
    """Return the name of the layout that ``path`` looks like; empty if none."""
    try:
        if path.is_dir():
            return _of_folder(path)
        if path.suffix == ".npz":
            return _of_arrays(path)
        return _of_tensors(path)
    except (OSError, zipfile.BadZipFile, FileFormatError):
        return ""


def _of_folder(folder: Path) -> str:
    if any((folder / name).is_file() for name in ("images_best.pt", "images_best_0.pt")):
        return "mtt"
    if (folder / "images.pt").is_file() and (folder / "lr.pt").is_file():
        return "mtt"
    if (folder / "data.pt").is_file():
        return "idc"
    return "folder" if holds_class_folders(folder) else ""


def _of_arrays(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
    if names >= {"images", "labels"}:
        return "plain"
    return "frepo" if names >= {"image", "label"} else ""


def _of_tensors(path: Path) -> str:
    """Guess by the file's name first: bare tensors of MTT and DataDAM differ in nothing else."""
    if path.name.startswith(("images_best", "images_zca")):
        return "mtt"
    if path.name.endswith("images.pt"):
        return "datadam"
    value = read_foreign_tensors(path)
    if isinstance(value, dict) and "format_version" not in value:  # an artifact of another version
        return "dm" if "data" in value else "plain" if {"images", "labels"} <= set(value) else ""
    return "plain" if isinstance(value, list | tuple) and len(value) == 2 else ""
