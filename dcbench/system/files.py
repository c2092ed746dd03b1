"""Write files whole or not at all, read files of unknown origin safely, and lock folders."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import tomllib
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dcbench.system.errors import FileFormatError, StorageError, brief
from dcbench.system.layout import LOCK

MOST_TOML_BYTES = 1 << 16  # a file that people write by hand is smaller
UNFINISHED = ".unfinished"  # ending of a file that is still being written
_FOLDER_NEEDED = "a folder that can be written is needed"


@contextmanager
def storing(path: Path, otherwise: str, verb: str = "write") -> Iterator[None]:
    """Turn an error of the disk into a StorageError about ``path``; ``otherwise`` says what is left
    or what to do.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot {verb} {path}: {error.strerror or error}; {otherwise}"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all (temporary file, fsync, rename).

    Raises:
        StorageError: The old file is then unchanged.
    """
    with storing(path, "what stood there before is unchanged"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes], folders: Iterable[str] = ()) -> None:
    """Create the folder ``path`` with ``files`` (content by name) and empty ``folders``, whole or
    not at all.

    Raises:
        StorageError: Also if ``path`` already exists.
    """
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path} already exists; name a folder that does not exist")
    with storing(path, "nothing is left of it"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(UNFINISHED, f".{path.name}.", path.parent))
        try:
            for folder in folders:
                (temporary / folder).mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(content)
            temporary.chmod(0o777 & ~_umask())
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync_folder(path.parent)


@cache
def _umask() -> int:
    """Return the permissions that this process removes from new files."""
    mask = os.umask(0o022)  # reading it requires setting it
    os.umask(mask)
    return mask


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of writers that were killed. Other files stay."""
    for left in folder.glob(f".*{UNFINISHED}"):
        if left.is_file():
            left.unlink(missing_ok=True)


def open_no_link(path: Path, flags: int) -> int:
    """Open ``path`` and return its descriptor. Raises OSError if it is a symbolic link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)


def disk_time(folder: Path) -> float:
    """Return the time by the clock that stamps files in ``folder``: on a shared disk, the server's.

    Raises StorageError.
    """
    with storing(folder, _FOLDER_NEEDED):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".now.", dir=folder) as file:
            return Path(file.name).stat().st_mtime


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where folders can be opened (not on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as JSON without NaN."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def twice(names: Iterable[str]) -> str:
    """Return the first of ``names`` that occurs twice; empty if none does.

    Readers of archives and tables silently take one of the two.
    """
    return next((name for name, count in Counter(names).items() if count > 1), "")


def distinct_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for ``json.loads`` that raises ValueError if a key occurs twice."""
    again = twice(key for key, _ in pairs)
    if again:
        raise ValueError(f"it holds {brief(again)} twice in one object")
    return dict(pairs)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object. Raises FileFormatError, which names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=distinct_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path} holds a JSON {type(value).__name__}, wanted an object")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises FileFormatError, which names the file, or OSError if it cannot be
    opened.
    """
    if path.stat().st_size > MOST_TOML_BYTES:
        raise FileFormatError(f"{path} has more than {MOST_TOML_BYTES} bytes")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not TOML: {error}") from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one JSON line and fsync it. A last line that a crash cut short is removed first."""
    with storing(path, "earlier lines are unchanged", "append to"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_no_link(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        with os.fdopen(descriptor, "ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end and _byte_at(stream, end - 1) != b"\n":
                stream.write(b"\n")
            stream.write((json.dumps(value, allow_nan=False) + "\n").encode())
            stream.flush()
            os.fsync(stream.fileno())


def _byte_at(stream: Any, position: int) -> bytes:
    stream.seek(position)
    return bytes(stream.read(1))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines. A line that a crash cut short is skipped; its work is done again."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line, object_pairs_hook=distinct_keys)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def write_tensors(path: Path, value: Mapping[str, Any]) -> None:
    """Write a dict of tensors and plain values. Equal values give equal bytes, whatever the file's
    name.
    """
    write_bytes(path, tensors_as_bytes(value))


def tensors_as_bytes(value: Mapping[str, Any]) -> bytes:
    """Return the bytes that ``write_tensors`` writes."""
    import torch

    buffer = io.BytesIO()
    torch.save(_one_of_each(dict(value)), buffer)
    return buffer.getvalue()


def _one_of_each(value: Any) -> Any:
    """Replace equal strings by one object: a pickle refers back to objects it has seen, so identity
    shows in its bytes.
    """
    if type(value) is str:
        return sys.intern(value)
    if type(value) is dict:
        return {_one_of_each(key): _one_of_each(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_one_of_each, value))
    return value


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a dict of tensors and plain values onto the CPU, without executing anything from the
    file.

    Raises FileFormatError.
    """
    value = read_plain_tensors(path)
    if not isinstance(value, dict):
        raise FileFormatError(f"{path} holds a {type(value).__name__}, wanted a dict of tensors")
    return value


class _Inert:
    """A stand-in for NumPy numbers and types, whose own code could do more than hold a value."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


# the name in NumPy 1, in NumPy 2, and the type
NUMPY_NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")


def read_foreign_tensors(path: Path) -> Any:
    """Read tensors from a file that may also hold NumPy numbers, as files of DC, DSA and DM do.

    Those numbers (accuracies) are returned empty. Otherwise like ``read_plain_tensors``.
    """
    import torch

    with torch.serialization.safe_globals([(_Inert, name) for name in NUMPY_NUMBERS]):
        return read_plain_tensors(path)


def read_plain_tensors(path: Path) -> Any:
    """Read the tensors, lists, dicts and plain values in a file, without executing anything from
    it.

    Raises FileFormatError.
    """
    import torch

    try:
        _check_archive(path)
        with warnings.catch_warnings():
            # torch warns of another pickle protocol: the file is read strictly or refused anyway
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileFormatError(f"no such file: {path}") from error
    except IsADirectoryError as error:
        raise FileFormatError(
            f"{path} is a folder, wanted a file; of images, a folder for each class: "
            f"dcbench import {path} --as folder --dataset NAME"
        ) from error
    except Exception as error:  # the unpickler can raise anything when the bytes are no pickle
        reason = _why_unreadable(path, error)
        raise FileFormatError(
            f"{path} is damaged or not a file of plain tensors, and was refused unexecuted "
            f"({reason})"
        ) from error


class _RefusedError(Exception):
    """An archive that is not opened at all, with the reason."""


def _why_unreadable(path: Path, error: Exception) -> str:
    """Describe what the file holds instead of tensors; torch's own message is for programmers."""
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if _is_archive(path):
        if isinstance(error, pickle.UnpicklingError):
            return "it holds other objects than tensors and plain values"
        return "it is an archive that is damaged or that torch did not write"
    with path.open("rb") as stream:
        return _what_begins_with(stream.read(64))


def _is_archive(path: Path) -> bool:
    """Return whether the file ends like a zip archive, even a damaged one."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the zip claims to span several disks
        return True


def _what_begins_with(head: bytes) -> str:
    if not head:
        return "it is empty"
    if head.isascii() and b"\0" not in head:
        return f"it is text, beginning {brief(head.decode().splitlines()[0][:40])}"
    if head.startswith((b"PK", b"\x80")):
        return "it is cut short, or holds other objects than tensors and plain values"
    return f"it begins with the bytes {head[:4].hex(' ')}, as no file of torch's does"


def _check_archive(path: Path) -> None:
    """Refuse archives that would unpack to more than their size, and compare the checksums that
    torch writes but does not read: a flipped bit would pass for a number.

    torch stores entries uncompressed, so together they are no larger than the file. Compressed or
    overlapping entries are a zip bomb.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            again = twice(entry.filename for entry in entries)
            if again:
                raise _RefusedError(f"it holds {brief(again)} twice")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _RefusedError("it is compressed, which torch's files are not")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise _RefusedError("it claims to hold more than it has bytes")
            damaged = archive.testzip()
        if damaged is not None:
            raise _RefusedError(f"the checksum of {brief(damaged)} is wrong")


@contextmanager
def locked(
    folder: Path, waiting: Callable[[], None] = lambda: None, patience: float = 1.0
) -> Iterator[None]:
    """Lock ``folder`` for this process.

    While another process holds it, ``waiting`` is called every ``patience`` seconds; it may raise.
    """
    with storing(folder, _FOLDER_NEEDED):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=patience)
        while not _acquired(lock):
            waiting()
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    return True
