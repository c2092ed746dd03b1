"""The page as a file: what it shows, what it never mixes, and what a hostile name or a damaged
neighbour does not do to it.
"""

from __future__ import annotations

import io
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from dcbench.records import RecordsFound, StoredRecord, find_records, write_record
from dcbench.report.files import Report
from dcbench.report.page.images import PageImages
from dcbench.report.page.strips import Strip, curve, strip_scale, thinned
from dcbench.studies.declared_methods import declared_methods
from dcbench.studies.papers import bibtex, papers
from tests.fixed_records import EXAMPLE, HOSTILE, SETS, fixed, record, sets

ROOT = Path(__file__).parents[2]


class Reader(HTMLParser):
    """Every element with its attributes, and all text outside of script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        return [
            own
            for kind, own in self.elements
            if kind == tag and (not class_ or class_ in (own.get("class") or "").split())
        ]


def page(
    records: list[StoredRecord], root: Path = Path(), problems: tuple[str, ...] = ()
) -> Reader:
    return Reader(Report(RecordsFound(tuple(records), problems), root, "html").text())


def stored(folder: Path, records: list[StoredRecord]) -> list[StoredRecord]:
    """The records as a run leaves them below ``folder``."""
    for number, each in enumerate(records):
        write_record(folder / f"set{number}" / "evaluations" / "hash" / "record.json", each.record)
    return list(find_records(folder).records)


def test_a_row_for_each_method_and_budget_in_order_of_the_means() -> None:
    found = page([*fixed(), *sets("dm", SETS["random"], ipc=1)])
    rows = [own for own in found.all("tbody") if "data-ipc" in own]
    assert [own["data-ipc"] for own in rows] == ["1", "10", "10", "10"]
    assert [own["data-value"] for own in found.all("th", "method")[1:]] == [
        "dm",
        "datadam",
        "dm",
        "random",
    ]
    said = " ".join(found.words)
    for figure in (
        "45.2 ± 0.3",
        "+16.7",
        "2 (1\N{EN DASH}2)",
        "[44.5, 45.9]",
        "54.2 ± 0.8",
        "\N{MINUS SIGN}9.0",
        "[\N{MINUS SIGN}9.7, \N{MINUS SIGN}8.3]",
    ):
        assert figure in said


def test_every_network_is_a_dot_with_a_title_in_its_row() -> None:
    found = page(fixed())
    assert len(found.all("circle")) == sum(
        len(networks) for method in SETS.values() for networks in method
    )
    assert "seed 0: 44.5" in found.words
    labels = [str(own["aria-label"]) for own in found.all("svg", "strip")]
    assert (
        "6 networks of 3 sets, 44.5 to 46.0 %; mean 45.2, 95 % interval over sets 44.5 to 45.9"
        in labels
    )


def test_different_protocols_are_never_ranked_together() -> None:
    other = {**EXAMPLE["protocol"], "name": "paper"}
    found = page([*sets("dm", SETS["dm"]), *sets("datadam", SETS["datadam"], protocol=other)])
    assert len(found.all("section", "board")) == 2
    assert [own["data-value"] for own in found.all("td", "rank")] == ["none", "none"]
    assert "2 leaderboards" in " ".join(found.words)


def test_pictures_and_curves_stand_beside_their_set_and_each_picture_once(tmp_path: Path) -> None:
    records = stored(tmp_path, sets("dm", SETS["dm"]))
    Image.new("RGB", (34, 344)).save(tmp_path / "set0" / "images.png")
    (tmp_path / "set1" / "history.csv").write_text(
        "step,loss\n1,10\n2,5\n3,oops\n4", encoding="utf-8"
    )
    write_record(
        tmp_path / "set0" / "evaluations" / "other" / "record.json",
        sets("dm", SETS["dm"], augment="none", protocol_hash="other")[0].record,
    )
    found = page(
        [
            *records,
            *(each for each in find_records(tmp_path).records if each.record.augment == "none"),
        ],
        tmp_path,
    )
    (image,) = (own for own in found.all("img") if "a class in each row" in str(own["alt"]))
    assert str(image["src"]).startswith("data:image/webp;base64,")
    assert (image["width"], image["height"]) == ("34", "344")
    (button,) = found.all("button", "zoom")
    assert str(button["data-classes"]).startswith("airplane|automobile|")
    assert [
        own["href"] for own in found.all("a") if str(own.get("href")).startswith("#images")
    ] == ["#images-0"]
    (drawn,) = found.all("svg", "curve")
    assert str(drawn["aria-label"]).endswith("loss from 10 at step 1 to 5 at step 2")


def test_a_page_that_is_full_says_where_the_picture_is(tmp_path: Path) -> None:
    (first, *_) = stored(tmp_path, sets("dm", SETS["dm"]))
    Image.new("RGB", (34, 34)).save(tmp_path / "set0" / "images.png")
    shown = PageImages(tmp_path, most_bytes=10).show(first.path, first.record)
    assert shown is not None
    assert "it is in set0/images.png" in shown.why
    assert not shown.address
    beside: dict[str, bytes] = {}
    there = PageImages(tmp_path, 10, beside).show(first.path, first.record)
    assert there is not None
    assert [there.address] == list(beside)
    with Image.open(io.BytesIO(beside[there.address])) as picture:
        assert (picture.format, picture.size) == ("WEBP", (34, 34))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images.png", b"\x89PNG cut"),
        ("images.png", b"<svg onload=x>"),
        ("history.csv", b"\xff\xfe"),
    ],
)
def test_a_damaged_neighbour_is_said_and_the_rest_is_shown(
    tmp_path: Path, name: str, content: bytes
) -> None:
    records = stored(tmp_path, sets("dm", SETS["dm"]))
    (tmp_path / "set0" / name).write_bytes(content)
    found = page(records, tmp_path)
    assert not [own for own in found.all("img") if own.get("src")]
    assert f"{name} can" in " ".join(found.words)
    assert len(found.all("article", "set")) == 3


def test_a_link_that_leaves_the_results_is_not_followed(tmp_path: Path) -> None:
    records = stored(tmp_path / "results", sets("dm", SETS["dm"]))
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere.png")
    (tmp_path / "results" / "set0" / "images.png").symlink_to(tmp_path / "elsewhere.png")
    shown = page(records, tmp_path / "results").all("img")
    assert not [own for own in shown if own.get("src")]


@pytest.mark.parametrize(
    "name",
    [
        *HOSTILE,
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(1)</script>",
        "' onfocus='x",
    ],
)
def test_a_hostile_name_becomes_no_markup(name: str) -> None:
    changes = {
        **{
            "dataset": name,
            "dataset_note": name,
            "network": name,
            "augment": name,
            "preset": name,
            "space": name,
            "holdout": name,
        },
        **{
            "protocol": {**EXAMPLE["protocol"], "name": name},
            "warnings": [name],
            "recipe": {name: name},
            "fields": {name: name},
        },
    }
    harmless = page(
        sets(
            "dm",
            SETS["dm"],
            **{key: value for key, value in changes.items() if key != "dataset"} | {"dataset": "x"},
        ),
        problems=("a file",),
    )
    found = page(sets(name, SETS["dm"], **changes), problems=(name,))
    kinds = [kind for kind, _ in found.elements]
    assert kinds.count("script") == 1
    assert not [own for own in found.all("img") if own.get("src")]
    assert set(kinds) <= {kind for kind, _ in harmless.elements}
    assert not [own for _, own in found.elements for key in own if key.startswith("on")]


def test_nothing_is_fetched_and_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    (path,) = Report(RecordsFound(tuple(fixed()), ()), tmp_path, "html").write(tmp_path / "out")
    html = path.read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"https?://", html)
    assert not [own for _, own in Reader(html).elements if own.get("style")]


def test_without_records_the_page_says_so_and_names_what_was_passed_over() -> None:
    found = page([], problems=("a/record.json is not a readable record",))
    said = " ".join(found.words)
    assert "No records." in said
    assert "Passed over: 1 file" in said
    assert "a/record.json is not a readable record" in said


def test_one_network_of_one_set_is_shown_without_an_interval() -> None:
    found = page([record("dm", [0.4])])
    assert (
        str(found.all("svg", "strip")[0]["aria-label"])
        == "1 network of 1 set, 40.0 to 40.0 %; mean 40.0"
    )


def test_the_data_itself_is_called_so() -> None:
    found = page([record("whole", [0.8], ipc=None, seed=0, evaluation_seed=1), record("dm", [0.4])])
    assert {"The data itself, networks of seed 1", "Seed 0"} <= set(found.words)


def test_a_copied_set_does_not_hide_how_long_it_took() -> None:
    seen = record("dm", [0.4])
    copied = record("dm", [0.41], evaluation_seed=1, distillation=None)
    assert [own["data-value"] for own in page([seen, copied]).all("td", "time")] == [
        str(EXAMPLE["distillation"]["distill_seconds"])
    ]


def test_a_turned_or_hidden_letter_is_a_space_on_the_page() -> None:
    said = " ".join(page(sets("a\u202eb", SETS["dm"], dataset_note="c\x7fd")).words)
    assert "a b" in said
    assert not {"\u202e", "\x7f"} & set(said)


def test_a_board_gives_its_table_and_the_papers_of_its_methods_to_copy() -> None:
    found = page(fixed())
    said = "".join(found.words)
    for words in (
        "@inproceedings{sajedi2023datadam",
        r"\\begin{tabular*}",
        'DataDAM,"IPC 10, measured"',
    ):
        assert words.replace("\\\\", "\\") in said, words


def test_every_paper_that_a_method_names_has_an_entry() -> None:
    root = ROOT / "dcbench"
    named = {
        key
        for folder in ("methods", "baselines")
        for path in (root / folder).glob("*.py")
        for key in re.findall(r'paper="([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(declared_methods()) > len(named) > 10
    assert named == set(papers())
    assert bibtex(["zhao2023dm", None, "unknown"]).startswith("@inproceedings{zhao2023dm,")


def test_other_settings_stand_apart_and_other_conditions_are_folded() -> None:
    other = {**EXAMPLE["fields"], "power": 1.0}
    records = [
        *fixed(),
        *sets("datadam", SETS["dm"], fields=other, artifact_hash="b"),
        *sets("dm", SETS["dm"], augment="none"),
    ]
    found = page(records)
    labels = [own["data-label"] for own in found.all("tbody") if "data-ipc" in own]
    assert labels == ["DataDAM", "DM", "Random", "DataDAM (p 1)", "DM"]
    assert len(found.all("details", "settings")) == 1
    folds = [own["id"] for own in found.all("details", "fold")]
    assert folds == ["other-boards", "ablations", "conditions", "scores"]
    contents = [own["href"] for own in found.all("a") if str(own["href"]).startswith("#")]
    boards = [own["id"] for own in found.all("section", "board")]
    assert {f"#{name}" for name in [*folds, *boards]} <= set(contents)


@pytest.mark.parametrize(
    "accuracies", [[0.5], [0.0, 1.0], [0.101, 0.1012], [0.17, 0.46], [0.0], [1.0]]
)
def test_a_scale_holds_every_accuracy_between_round_ends(accuracies: list[float]) -> None:
    scale = strip_scale(accuracies)
    assert all(scale.low - 1e-9 <= accuracy <= scale.high + 1e-9 for accuracy in accuracies)
    assert 2 <= len(scale.ticks) <= 6
    assert scale.place(scale.low) == 12
    assert scale.place(scale.high) == 248


def test_an_interval_that_leaves_the_scale_has_no_bar_at_that_end() -> None:
    scale = strip_scale([0.1, 0.5])
    inside, outside = (Strip({0: [0.1, 0.5]}, 0.3, (0.2, high), scale) for high in (0.4, 0.9))
    assert (len(inside.ends), len(outside.ends)) == (2, 1)


def test_a_long_curve_keeps_its_ends_and_extremes() -> None:
    points = [(float(step), 1.0) for step in range(20_000)]
    points[7_777] = (7_777.0, 100.0)
    kept = thinned(points)
    assert len(kept) <= 402
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert points[7_777] in kept
    assert curve([(1.0, 2.0)], "x") is None


def test_style_and_script_go_with_the_package() -> None:
    """What package-data does not list is missing from the wheel, in silence."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    found = {
        path.name
        for path in (ROOT / "dcbench" / "report" / "page").iterdir()
        if path.is_file() and path.suffix != ".py"
    }
    listed = set(setuptools["package-data"]["dcbench.report.page"])
    assert listed == found == {"page.css", "page.html", "page.js"}
