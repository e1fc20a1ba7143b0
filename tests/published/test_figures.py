"""The registry of published figures: complete, without contradictions, each figure with its protocol and source."""

from __future__ import annotations

import pytest

from unseg_d2.data.builtin import BUILTIN, SALIENCY_DATASETS
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.class_agnostic import METRICS
from unseg_d2.published.figures import (
    CERTAINTIES,
    SETTINGS,
    TASKS,
    published_figure,
    published_rows,
    read_registry,
    registry,
)
from unseg_d2.semantic.datasets import BUILTIN as SEMANTIC

ROWS = registry().rows
OF_TASK = {
    "detection": {*METRICS, "AR1000"},
    "corloc": {"CorLoc"},
    "saliency": {"Acc", "IoU", "maxF"},
    "semantic": {"Acc", "mIoU"},
    "panoptic": {"PQ"},
}


def test_every_row_says_what_was_measured_how_and_who_reports_it() -> None:
    for row in ROWS:
        assert row.figures.keys() <= OF_TASK[row.protocol.task] and row.figures
        assert all(0 < value < 100 for value in row.figures.values())
        assert row.kind in ("bbox", "segm", "") and row.setting in SETTINGS and row.certainty in CERTAINTIES
        assert row.protocol.task != "detection" or row.kind or row.note
        assert row.source.url.startswith("https://") and row.system.supervision and row.system.venue


def test_everything_listed_is_used() -> None:
    known = registry()
    assert {row.system.key for row in ROWS} == known.systems.keys()
    assert {row.benchmark.key for row in ROWS} == known.benchmarks.keys()
    assert {row.protocol.key for row in ROWS} == known.protocols.keys()
    assert {row.source.key for row in ROWS} == known.sources.keys()
    assert {protocol.task for protocol in known.protocols.values()} == set(TASKS)


def test_data_sets_are_built_in_ones() -> None:
    names = {benchmark.dataset for benchmark in registry().benchmarks.values()} - {""}
    assert names <= BUILTIN.keys() | SALIENCY_DATASETS.keys() | SEMANTIC.keys()


def test_no_figure_is_stated_twice_by_one_table() -> None:
    keys = [
        (row.system.key, row.benchmark.key, row.kind, row.setting, row.variant, row.source.key, row.where, metric)
        for row in ROWS
        for metric in row.figures
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("benchmark", ["coco_val2017", "coco20k"])
def test_two_sources_agree_on_cutler(benchmark: str) -> None:
    rows = [row for row in published_rows(benchmark, system="cutler") if row.kind == "bbox"]
    assert len(rows) == 2 and len({row.figures["AP50"] for row in rows}) == 1


def test_the_figures_that_tables_of_the_field_mix_carry_what_sets_them_apart() -> None:
    value, row = published_figure("unmore", "coco_star", "AP", kind="segm")
    assert (value, row.setting, row.system.supervision) == (15.5, "in-domain", ("imagenet-labels",))
    assert "SAM" in row.system.note and "SAM" in row.benchmark.note
    (uniap,) = (row for row in published_rows("coco_val2017", system="uniap"))
    (maskcut,) = (row for row in published_rows("coco_val2017", system="maskcut", source="s2_uniseg"))
    assert uniap.figures["AP"] < maskcut.figures["AP"] and "below MaskCut" in uniap.system.note
    assert uniap.protocol == maskcut.protocol != published_figure("maskcut", "coco20k", "AP", kind="segm")[1].protocol


def test_studies_of_parts_are_returned_on_request_only() -> None:
    usual, every = published_rows("coco_val2017"), published_rows("coco_val2017", ablations=True)
    assert not any(row.ablation for row in usual) and len(every) > len(usual)
    assert [row.figures["AP"] for row in published_rows(source="cuts3d_v2", where="Table 8")] == [9.1, 8.9, 9.1]


def test_one_figure_is_found_or_the_message_says_why_not() -> None:
    assert published_figure("cuts3d", "coco_val2017", "AP", kind="segm", where="Table 1")[0] == 10.2
    with pytest.raises(UnsegError, match=r"Several segm AP of cuts3d.*Name source or variant"):
        published_figure("cuts3d", "coco_val2017", "AP", kind="segm")
    with pytest.raises(UnsegError, match="Did you mean 'cutler'"):
        published_figure("cutlr", "coco_val2017", "AP")
    with pytest.raises(UnsegError, match="No segm AR100 of cuvler"):
        published_figure("cuvler", "coco_val2017", "AR100", kind="segm")


def test_a_supervision_outside_the_vocabulary_is_refused() -> None:
    system = {"name": "x", "venue": "2026", "network": "x", "features": "x", "supervision": ["some"]}
    empty: dict[str, object] = {"benchmarks": {}, "protocols": {}, "sources": {}, "rows": []}
    with pytest.raises(UnsegError, match="The supervision is some"):
        read_registry({**empty, "systems": {"x": system}})
