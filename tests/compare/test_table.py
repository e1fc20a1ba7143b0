"""Ranks within a protocol and setting only, merged sources, blanks, differences; figures made by hand."""

from __future__ import annotations

import csv
import io
import json

import pytest

from unseg_d2.compare.layout import as_csv, as_json, as_page, as_text
from unseg_d2.compare.result import Result, published_results, supervised_within
from unseg_d2.compare.table import Column, Comparison, chosen, columns_of, compare
from unseg_d2.errors import UnsegError

AP = Column("coco_val2017", "segm", "AP")
AP50 = Column("coco_val2017", "bbox", "AP50")


def result(name: str, kind: str = "segm", /, **given: object) -> Result:
    """A zero-shot result on COCO val2017; figures are those arguments that are metrics."""
    figures = {key: given.pop(key) for key in list(given) if key.startswith(("AP", "AR", "MAE"))}
    usual = {
        "key": name.lower(),
        "name": name,
        "network": "",
        "benchmark": "coco_val2017",
        "kind": kind,
        "setting": "zero-shot",
        "protocol": "coco",
        "figures": figures,
        "supervision": ("none",),
        "source": "a paper",
        "certainty": "read",
    }
    return Result(**{**usual, **given})  # type: ignore[arg-type]


def names(table: Comparison) -> list[tuple[int | None, str]]:
    return [(row.rank, row.name) for row in table.rows]


def test_each_protocol_and_setting_has_its_own_ranking() -> None:
    """36.4 by other rules does not beat 10.7, nor does 15.5 after training on COCO."""
    results = [
        result("Other rules", AP=36.4, protocol="s2_uniseg"),
        result("Trained on COCO", AP=15.5, setting="in-domain"),
        result("Good", AP=9.7),
        result("Better", AP=10.7),
        result("As good", AP=9.7),
        result("Own", AP=99.0, setting="not stated"),
    ]
    table = compare(results, [AP])
    assert names(table) == [
        (1, "Better"),
        (2, "Good"),
        (2, "As good"),
        (1, "Trained on COCO"),
        (1, "Own"),
        (1, "Other rules"),
    ]
    blocks = as_text(table).split("\n\n")
    assert [block.count("coco ") for block in blocks[1:4]] == [3, 1, 1] and "s2_uniseg" in blocks[4]


def test_a_missing_figure_is_blank_and_has_no_rank() -> None:
    table = compare([result("A", AP=9.0), result("B", "bbox", AP50=20.0)], [AP, AP50], sort=AP)
    assert names(table) == [(1, "A"), (None, "B")]
    lines = [line for line in as_text(table).splitlines() if "zero-shot" in line]
    assert len(lines) == 2 and "0.0" not in lines[0] + lines[1].replace("20.0", "")
    rows = list(csv.reader(io.StringIO(as_csv(table))))
    assert rows[0][3:5] == ["COCO val2017 mask AP", "COCO val2017 box AP50"]
    assert [row[3:5] for row in rows[1:]] == [["9.0", ""], ["", "20.0"]]
    content = json.loads(as_json(table))
    assert [figure["value"] for row in content["rows"] for figure in row["figures"]] == [9.0, 20.0]


def test_a_group_without_the_column_that_sorts_is_ranked_by_the_next() -> None:
    rest = [result(name, "bbox", AP50=value, setting="in-domain") for name, value in (("C", 1.0), ("D", 2.0))]
    table = compare([result("A", AP=9.0), result("B", AP=8.0), *rest], [AP, AP50], sort=AP)
    assert names(table) == [(1, "A"), (2, "B"), (1, "D"), (2, "C")]


def test_errors_are_better_if_lower() -> None:
    column = Column("ecssd", "", "MAE")
    results = [result(name, "", benchmark="ecssd", MAE=value) for name, value in (("A", 9.0), ("B", 3.0))]
    assert names(compare(results, [column])) == [(1, "B"), (2, "A")]


def test_sources_that_agree_share_a_row_and_others_do_not() -> None:
    """The second source adds a metric; the third contradicts the first, so all its figures stand apart."""
    ar = Column("coco_val2017", "segm", "AR100")
    results = [
        result("A", AP=9.7, source="one"),
        result("A", AP=9.7, AR100=27.1, source="two", certainty="digest", notes=("once",)),
        result("A", AP=2.0, source="three"),
        result("A", "bbox", AP50=20.0, source="three"),
    ]
    rows = compare(results, [AP, ar, AP50]).rows
    assert [(row.figures, row.sources) for row in rows] == [
        ({AP: 9.7, ar: 27.1}, ["one", "two"]),
        ({AP: 2.0, AP50: 20.0}, ["three"]),
    ]
    assert rows[0].certainty == {AP: "read", ar: "digest"} and rows[0].notes == ["once"]
    text = as_text(compare(results, [AP, ar]))
    assert "~27.1" in text and "~9.7" not in text and "[a] once" in text


def test_differences_are_from_the_baseline_in_the_same_group() -> None:
    results = [
        result("Base", AP=9.7),
        result("Ours", AP=10.9, certainty="measured"),
        result("Trained on COCO", AP=15.5, setting="in-domain"),
    ]
    table = compare(results, [AP], baseline="base")
    assert [row.deltas for row in table.rows] == [{AP: pytest.approx(1.2)}, {}, {}]
    text = as_text(table)
    assert "> Ours" in text and "10.9 (+1.2)" in text and "15.5 (" not in text
    header, ours, *_ = csv.reader(io.StringIO(as_csv(table)))
    assert ours[header.index("COCO val2017 mask AP - Base")] == "1.2"
    with pytest.raises(UnsegError, match=r"'Bade' is not in the table\. Did you mean 'Base'"):
        compare(results, [AP], baseline="Bade")
    with pytest.raises(UnsegError, match="Several systems are called 'a': base, trained on coco"):
        compare(results, [AP], baseline="a")


def test_systems_are_found_by_a_part_of_their_names() -> None:
    results = published_results()
    assert {item.key for item in chosen(results, ["CutLER"])} >= {"cutler", "cutler_mask_rcnn", "cutler_trace"}
    with pytest.raises(UnsegError, match="No system is called 'cutter'"):
        chosen(results, ["cutter"])


def test_supervision_keeps_what_has_learnt_from_nothing_else() -> None:
    results = [result("A", AP=1.0), result("B", AP=1.0, supervision=("depth",))]
    results += [result("C", AP=1.0, supervision=("depth", "text-image")), result("D", AP=1.0, supervision=())]
    assert [item.name for item in supervised_within(results, ["none"])] == ["A"]
    assert [item.name for item in supervised_within(results, ["depth"])] == ["A", "B"]
    assert not {"cuts3d", "unmore", "cutler_trace"} & {r.key for r in supervised_within(published_results(), ["none"])}


def test_columns_follow_the_order_of_the_request() -> None:
    results = [result("A", AP=1.0, AP50=2.0), result("A", "bbox", AP=3.0), result("A", benchmark="coco20k", AP=4.0)]
    found = columns_of(results, ["coco20k", "coco_val2017"], ["mask/AP", "AP50"])
    assert [column.title for column in found] == ["COCO20K mask AP", "COCO val2017 mask AP", "COCO val2017 mask AP50"]
    assert [column.word for column in columns_of(results, ["coco_val2017"], ["AP"])] == ["box/AP", "mask/AP"]
    with pytest.raises(UnsegError, match="No figure is a mask/AR100; there are box/AP, mask/AP, mask/AP50"):
        columns_of(results, ["coco_val2017"], ["mask/AR100"])


def test_notes_of_the_published_figures_stand_below() -> None:
    results = [item for item in published_results() if item.key in ("unmore", "uniap", "maskcut")]
    text = as_text(compare(results, columns_of(results, [], ["mask/AP"])))
    assert (
        "SAM" in text and "UniAP is below MaskCut in its own table" in text and "supervision imagenet-labels:" in text
    )


def test_markdown_has_a_table_per_group() -> None:
    page = as_page(compare([result("A", AP=9.0), result("B", AP=15.5, setting="in-domain")], [AP]))
    assert page.count("\n|---") == 2 and "**in-domain, COCOeval, one class, 100 results**" in page
    assert all(line.count("|") in (0, 7) for line in page.splitlines())
