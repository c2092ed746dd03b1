"""Fetch one file of a repository on the Hugging Face hub, of a pinned revision, checked against its
hash.

Nothing is executed: a fetched file is only bytes until one of our readers opens it.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from dcbench.system.errors import DataError, OutOfRangeError
from dcbench.system.files import UNFINISHED, storing
from dcbench.system.progress import Progress, silent

SCHEME = "hf://"
MOST_BYTES = 8 << 30  # largest file
# prefixes of an address; without one it is a model
_KINDS = {"datasets": "dataset", "spaces": "space"}
_ADDRESS = re.compile(r"(?:(datasets|spaces)/)?([\w.-]+/[\w.-]+?)(?:@([^/]*))?/(.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """The address of a file on the hub."""

    kind: str  # of its repository: model, dataset or space
    repository: str  # owner/name
    revision: str  # a commit, 40 hexadecimal digits
    path: str

    @property
    def address(self) -> str:
        """The address in the form that ``parse`` reads."""
        prefix = next((f"{key}/" for key, kind in _KINDS.items() if kind == self.kind), "")
        return f"{SCHEME}{prefix}{self.repository}@{self.revision}/{self.path}"

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.path).name


def is_address(text: str) -> bool:
    """Return whether ``text`` is an address on the hub, not a local path."""
    return text.startswith(SCHEME)


def parse(address: str) -> HubFile:
    """Parse ``hf://[datasets/]owner/name@COMMIT/path``. Raises OutOfRangeError."""
    found = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if found is None:
        raise OutOfRangeError(
            f"{address} is no file on the hub; wanted {SCHEME}owner/name@COMMIT/path, "
            f"of a data set {SCHEME}datasets/owner/name@COMMIT/path"
        )
    prefix, repository, revision, path = found.groups()
    if not _COMMIT.fullmatch(revision or ""):
        pinned = address.replace(f"@{revision}", "").replace(
            f"{repository}/", f"{repository}@COMMIT/", 1
        )
        named = "no revision" if revision is None else f"the revision {revision!r}"
        raise OutOfRangeError(
            f"{address} names {named}, "
            f"under which other bytes may stand tomorrow; name a commit (40 hexadecimal digits, "
            f"in the repository's history): {pinned}"
        )
    if "\\" in path or {"", ".", ".."} & set(path.split("/")):
        raise OutOfRangeError(f"{address}: the path {path!r} is no plain path in a repository")
    return HubFile(_KINDS.get(prefix or "", "model"), repository, revision, path)


def installed() -> bool:
    """Return whether the optional package for the hub is installed."""
    return find_spec("huggingface_hub") is not None


def fetch(
    file: HubFile,
    target: Path,
    sha256: str = "",
    progress: Progress = silent,
    endpoint: str | None = None,
) -> None:
    """Fetch ``file`` to ``target``: whole and checked, or not at all.

    Args:
        file: What to fetch.
        target: Where to write it; an existing file is replaced.
        sha256: The expected hash; if empty, the one that the hub states.
        progress: Called at the beginning and the end.
        endpoint: The hub's address, if not the usual one.

    Raises:
        DataError: If the hub cannot be reached or has no such file, if the hash differs, or if the
            optional package is missing.
        StorageError: If ``target`` cannot be written.
    """
    if not installed():
        raise DataError(
            f"{file.address} needs the package huggingface_hub, which is not installed: "
            "pip install huggingface_hub, or in a clone pip install -e '.[hub]'"
        )
    progress(f"fetching {file.name}", 0, 1)
    with storing(target, "what stood there is unchanged"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", suffix=UNFINISHED, dir=target.parent
        ) as folder:
            fetched, promised = _downloaded(file, Path(folder), endpoint)
            _check(file, fetched, sha256, promised)
            os.replace(fetched, target)
    progress(f"fetching {file.name}", 1, 1)


def kept(file: HubFile, cache_root: Path, progress: Progress = silent) -> Path:
    """Return the path of ``file`` in the cache; fetch it if it is missing. A commit's files never
    change.

    Raises what ``fetch`` raises.
    """
    target = cache_root / "hub" / file.kind / file.repository / file.revision / file.path
    if not target.is_file():
        fetch(file, target, progress=progress)
    return target


def origin(file: HubFile, path: Path) -> dict[str, str]:
    """Return what an artifact's provenance says about the hub's file at ``path``."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"source_address": file.address, "source_sha256": digest}


def _downloaded(file: HubFile, folder: Path, endpoint: str | None) -> tuple[Path, str]:
    """The file below ``folder``, and what the hub says its hash is."""
    import huggingface_hub as hub
    from huggingface_hub import utils

    where: dict[str, Any] = {
        "repo_id": file.repository,
        "repo_type": file.kind,
        "revision": file.revision,
        "endpoint": endpoint,
    }
    silent_before = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        said = hub.get_hf_file_metadata(hub.hf_hub_url(filename=file.path, **where))
        if said.size is not None and said.size > MOST_BYTES:
            raise DataError(f"{file.address} has {said.size} bytes; at most {MOST_BYTES} are read")
        if said.commit_hash != file.revision:
            raise DataError(f"{file.address}: the hub answers with the commit {said.commit_hash}")
        fetched = hub.hf_hub_download(filename=file.path, local_dir=folder, **where)
    except DataError:
        raise
    except Exception as error:  # an error of the hub, or of the library that talks to it
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{file.address} could not be fetched ({reason})") from error
    finally:
        if not silent_before:
            utils.enable_progress_bars()
    return Path(fetched), said.etag or ""


def _check(file: HubFile, path: Path, sha256: str, promised: str) -> None:
    """Compare the file at ``path`` with the hash that the hub ``promised``, and with ``sha256`` if
    not empty.

    The hub states the sha256 of a large file, and git's hash of a small one. Raises DataError.
    """
    size = path.stat().st_size
    digests = {
        "sha256": hashlib.sha256(),
        "git's hash": hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False),
    }
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
    found = {name: digest.hexdigest() for name, digest in digests.items()}
    if promised not in found.values():
        raise DataError(
            f"{file.address} is damaged or was exchanged on the way: its {', '.join(found)} are "
            f"{', '.join(found.values())}, the hub says {promised or 'none'}; nothing is kept"
        )
    if sha256 and found["sha256"] != sha256:
        raise DataError(
            f"{file.address} has the sha256 {found['sha256']}, wanted {sha256}; nothing is kept"
        )
