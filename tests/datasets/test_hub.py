"""Files of the hub, from a stand-in that speaks its protocol on this machine."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets import catalogue, hub
from dcbench.datasets.hub import HubFile, fetch, parse
from dcbench.datasets.loading import load
from dcbench.datasets.places import Places
from dcbench.system.errors import DataError, OutOfRangeError
from tests.commandline import ask, done
from tests.datasets.test_datasets import Downloads, Toy, parquet_tree
from tests.hostile.corpus import Executing

pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the stand-in serves: files by their paths, ``large`` ones from a place of their own."""

    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    spoiled: set[str] = field(default_factory=set)  # their content arrives changed
    commit: str = COMMIT  # that it answers with
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def put(self, repository: str, path: str, content: bytes, large: bool = False) -> str:
        """Serve ``content``; returns its path there."""
        where = f"/{repository}/resolve/{COMMIT}/{path}"
        self.files[where] = content
        if large:
            self.large.add(where)
        return where


class Answers(BaseHTTPRequestHandler):
    """HEAD tells commit, hash and size; GET gives the content, of a large file elsewhere."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(content=False)

    def do_GET(self) -> None:
        self.answer(content=True)

    def answer(self, content: bool) -> None:
        stored = self.path.removeprefix("/elsewhere")
        self.hub.asked.append(f"{self.command} {self.path}")
        if stored not in self.hub.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.hub.files[stored]
        large = stored in self.hub.large
        aside = large and not self.path.startswith("/elsewhere")
        self.send_response(302 if aside else 200)
        self.send_header("X-Repo-Commit", self.hub.commit)
        if large:
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(body)))
            self.send_header("Location", f"{self.hub.url}/elsewhere{stored}")
        git = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False)
        self.send_header("ETag", f'"{git.hexdigest()}"')
        if stored in self.hub.spoiled:
            body = body[:-1] + b"?"
        self.send_header("Content-Length", "0" if aside else str(len(body)))
        self.end_headers()
        if content and not aside:
            self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Tells nobody."""


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub()
    handler = type("Answers", (Answers,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(hub, "fetch", partial(fetch, endpoint=served.url))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("address", "kind", "repository", "path"),
    [
        (f"hf://ann/sets@{COMMIT}/a/b.npz", "model", "ann/sets", "a/b.npz"),
        (f"hf://datasets/ann/se.ts@{COMMIT}/b.npz", "dataset", "ann/se.ts", "b.npz"),
        (f"hf://spaces/ann/sets@{COMMIT}/b@1.npz", "space", "ann/sets", "b@1.npz"),
    ],
)
def test_addresses(address: str, kind: str, repository: str, path: str) -> None:
    file = parse(address)
    assert file == HubFile(kind, repository, COMMIT, path)
    assert file.address == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://ann/sets/b.npz", "names no revision"),
        ("hf://ann/sets@main/b.npz", "the revision 'main'"),
        (f"hf://ann/sets@{COMMIT[:12]}/b.npz", "the revision"),
        ("hf://ann/sets@/b.npz", "the revision ''"),
        (f"hf://ann/sets@{COMMIT}/../b.npz", "no plain path"),
        (f"hf://ann/sets@{COMMIT}/a//b.npz", "no plain path"),
        (f"hf://ann/sets@{COMMIT}", "no file on the hub"),
        ("hf://b.npz", "no file on the hub"),
    ],
)
def test_addresses_that_are_none(address: str, said: str) -> None:
    with pytest.raises(OutOfRangeError, match=said):
        parse(address)


def test_without_a_revision_the_message_is_the_command(tmp_path: Path) -> None:
    words = ("--as", "plain", "--dataset", "digits", "--to", tmp_path / "set.pt")
    answer = ask("import", "hf://ann/sets@main/b.npz", *words)
    assert answer.code == 2
    assert "hf://ann/sets@COMMIT/b.npz" in answer.line


@pytest.mark.parametrize("large", [False, True])
def test_a_file_arrives_whole(tmp_path: Path, standin: Hub, large: bool) -> None:
    content = np.random.default_rng(0).bytes(3 << 20)
    standin.put("ann/sets", "a b/set.npz", content, large)
    # as the library asks for it
    standin.files = {key.replace(" ", "%20"): body for key, body in standin.files.items()}
    standin.large = {key.replace(" ", "%20") for key in standin.large}
    fetch(HubFile("model", "ann/sets", COMMIT, "a b/set.npz"), tmp_path / "x", endpoint=standin.url)
    assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("fault", ["spoiled", "other hash", "other commit", "absent"])
def test_nothing_is_kept_of_what_is_wrong(
    tmp_path: Path, standin: Hub, large: bool, fault: str
) -> None:
    where = standin.put("ann/sets", "set.npz", b"content", large)
    standin.spoiled = {where} if fault == "spoiled" else set()
    standin.commit = "f" * 40 if fault == "other commit" else COMMIT
    if fault == "absent":
        standin.files.clear()
    wanted = "0" * 64 if fault == "other hash" else ""
    said = {
        "spoiled": "damaged or was exchanged",
        "other hash": "wanted 0000",
        "other commit": "answers with the commit ffff",
        "absent": "could not be fetched",
    }[fault]
    (tmp_path / "x").write_bytes(b"before")
    file = HubFile("model", "ann/sets", COMMIT, "set.npz")
    with pytest.raises(DataError, match=said):
        fetch(file, tmp_path / "x", wanted, endpoint=standin.url)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"before"


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(HubFile("model", "ann/sets", COMMIT, "set.npz"), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "installed", lambda: False)
    with pytest.raises(DataError, match=r"pip install huggingface_hub"):
        fetch(HubFile("model", "ann/sets", COMMIT, "set.npz"), tmp_path / "x")


def arrays(path: Path) -> bytes:
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.random((20, 1, 8, 8), np.float32), labels=np.arange(20) % 10)
    return path.read_bytes()


def test_a_set_is_imported_and_says_where_it_came_from(tmp_path: Path, standin: Hub) -> None:
    content = arrays(tmp_path / "set.npz")
    standin.put("ann/sets", "set.npz", content, large=True)
    address = f"hf://ann/sets@{COMMIT}/set.npz"
    words = ("--as", "plain", "--dataset", "digits")
    done("import", address, *words, "--to", tmp_path / "hub.pt")
    done("import", tmp_path / "set.npz", *words, "--to", tmp_path / "here.pt")
    fetched, here = (read_artifact(tmp_path / name) for name in ("hub.pt", "here.pt"))
    assert fetched.synthetic.content_hash == here.synthetic.content_hash
    assert fetched.provenance["source_address"] == address
    assert fetched.provenance["source_sha256"] == hashlib.sha256(content).hexdigest()
    before = len(standin.asked)
    done("import", address, *words, "--to", tmp_path / "again.pt")
    assert len(standin.asked) == before  # a commit's file does not change
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "hub.pt").read_bytes()


def test_a_fetched_file_is_not_executed(tmp_path: Path, standin: Hub) -> None:
    trace = tmp_path / "executed"
    standin.put("eve/sets", "hostile.pt", pickle.dumps({"images": Executing(trace)}))
    words = ("--as", "plain", "--dataset", "digits", "--to", tmp_path / "to.pt")
    answer = ask("import", f"hf://eve/sets@{COMMIT}/hostile.pt", *words)
    assert answer.code == 1
    assert "refused unexecuted" in answer.line
    assert not trace.exists()
    assert not (tmp_path / "to.pt").exists()


def test_download_takes_the_hubs_parquet_where_torchvisions_files_cannot_be_had(
    tmp_path: Path, standin: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy.of("cifar10")
    published = parquet_tree(tmp_path / "published", toy, "uoft-cs/cifar10/plain_text")
    files = {}
    for path in sorted((published / "uoft-cs/cifar10").rglob("*.parquet")):
        name = str(path.relative_to(published / "uoft-cs/cifar10"))
        files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        standin.put("datasets/uoft-cs/cifar10", name, path.read_bytes(), large=True)
    declared = replace(catalogue.find("cifar10"), hub_files=files, hub_revision=COMMIT)

    def fail(_root: Path) -> None:
        raise TimeoutError("slow")

    downloads = Downloads(monkeypatch, fail)
    monkeypatch.setattr(catalogue, "DATASETS", {"cifar10": declared})
    root = tmp_path / "data"
    loaded = load("cifar10", Places(root, tmp_path / "cache", download=True))
    assert "parquet files" in loaded.source
    assert np.array_equal(loaded.train.images.numpy(), toy.train)
    assert downloads.count == 1
    asked = len(standin.asked)
    load("cifar10", Places(root, tmp_path / "cache", download=True))
    assert (len(standin.asked), downloads.count) == (asked, 1)
    # other bytes under the pinned commit are refused
    spoiled = replace(declared, hub_files={**files, next(iter(files)): "0" * 64})
    monkeypatch.setattr(catalogue, "DATASETS", {"cifar10": spoiled})
    with pytest.raises(DataError, match=r"slow.*wanted 0000"):
        load("cifar10", Places(tmp_path / "other", tmp_path / "cache", download=True))
    assert not list((tmp_path / "other").rglob("*.parquet"))


def test_pinned_files_are_declared_whole() -> None:
    for dataset in catalogue.DATASETS.values():
        if dataset.hub_files:
            assert len(dataset.hub_revision) == 40
            assert {len(digest) for digest in dataset.hub_files.values()} == {64}
            assert len(set(dataset.hub_files.values())) == len(dataset.hub_files)
            assert all(path.startswith(f"{dataset.hub_config}/") for path in dataset.hub_files)
