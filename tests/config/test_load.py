"""Loading of recipes: what is right is merged, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.config.load import with_options
from unseg_d2.errors import UnsegError

RECIPES = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))


def test_overrides_win_over_file_and_file_over_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SOLVER: {MAX_ITER: 7, BASE_LR: 0.5}\nSEED: 3\n")
    (tmp_path / "recipe.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 8}\n")
    cfg = load_cfg(tmp_path / "recipe.yaml", ["SEED", "4"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SEED) == (8, 0.5, 4)


def test_own_recipes_differ_from_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("_BASE_: configs/cutler/mask_rcnn_R_50_FPN.yaml\nSEED: 3\n")
    cfg, shipped = load_cfg(tmp_path / "mine.yaml"), load_cfg("configs/cutler/mask_rcnn_R_50_FPN.yaml", ["SEED", "3"])
    assert cfg == shipped and cfg.MODEL.ROI_HEADS.USE_DROPLOSS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "_BASE_: configs/cutler/mask_rcnn_R50_FPN.yaml",
            r"The _BASE_ of .*Did you mean 'configs/cutler/mask_rcnn_R_50_FPN.yaml'\?",
        ),
        ("SOLVER: {MAX_ITR: 7}", r"Unknown key SOLVER.MAX_ITR in .*Did you mean 'SOLVER.MAX_ITER'\?"),
        (
            "SOLVER: {MAX_ITER: many}",
            r"SOLVER.MAX_ITER in .*recipe.yaml, line 1 is 'many', but must be a whole number of at least 0",
        ),
        ("SOLVER: 3", r"SOLVER in .* is a section"),
        ("SOLVER: {MAX_ITER: {DEEPER: 1}}", r"Unknown key SOLVER.MAX_ITER.DEEPER"),
        ("SOLVER: [", r"is not valid YAML, line \d"),
        ("_BASE_: nowhere.yaml", r"The _BASE_ of .* cannot be read"),
        ("- a list", r"is not a mapping of keys"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(UnsegError, match=message):
        load_cfg(recipe)


def test_missing_file_and_odd_overrides() -> None:
    with pytest.raises(UnsegError, match="no configuration file"):
        load_cfg("nowhere.yaml")
    with pytest.raises(UnsegError, match="KEY VALUE pairs"):
        load_cfg(None, ["SEED"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(recipe: Path) -> None:
    assert load_cfg(recipe).is_frozen()


def test_the_line_that_counts_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SEED: 3\nSOLVER:\n  # a comment\n  MOMENTUM: 2.0\n")
    (tmp_path / "recipe.yaml").write_text("_BASE_: base.yaml\nSEED: 4\n")
    with pytest.raises(UnsegError, match=r"SOLVER.MOMENTUM in .*base.yaml, line 4 is 2.0, but must be a number in"):
        load_cfg(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATASETS.PROPOSAL_FILES_TRAIN", "('boxes.pkl',)"),
        ("DATASETS.PROPOSAL_FILES_TEST", "['boxes.pkl']"),
        ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"),
        ("DATALOADER.REPEAT_THRESHOLD", "0.001"),
        ("INPUT.CROP.ENABLED", "True"),
        ("MODEL.KEYPOINT_ON", "True"),
        ("MODEL.LOAD_PROPOSALS", "True"),
        ("MODEL.RESNETS.STEM_TYPE", "deeplab"),
        ("MODEL.RESNETS.RES5_MULTI_GRID", "[1, 2, 4]"),
        ("TEST.AUG.ENABLED", "True"),
    ],
)
def test_values_of_detectron2_that_have_no_effect_here_are_refused(key: str, value: str) -> None:
    with pytest.raises(UnsegError, match=rf"^{key} in the overrides is .*, but must be .*\.$"):
        load_cfg(None, [key, value])


def test_keys_of_the_deeplab_project_load_with_the_values_that_are_supported(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('MODEL: {RESNETS: {STEM_TYPE: "basic", RES5_MULTI_GRID: [1, 1, 1]}}\n')
    assert load_cfg(recipe).MODEL.RESNETS == load_cfg(None).MODEL.RESNETS


def test_an_empty_list_is_an_empty_tuple(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("DATASETS: {PROPOSAL_FILES_TRAIN: []}\nDATALOADER: {SAMPLER_TRAIN: TrainingSampler}\n")
    assert load_cfg(recipe).DATASETS.PROPOSAL_FILES_TRAIN == ()


def test_a_recipe_is_searched_for_lines_only_when_something_is_wrong(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "recipe.yaml").write_text("SEED: 4\n")
    monkeypatch.setattr("unseg_d2.config.load.locate", lambda path, key: pytest.fail("searched"))
    assert load_cfg(tmp_path / "recipe.yaml").SEED == 4


def test_infinity_is_a_number_where_no_range_is_stated() -> None:
    assert load_cfg(None, ["SOLVER.CLIP_GRADIENTS.NORM_TYPE", "1e999"]).SOLVER.CLIP_GRADIENTS.NORM_TYPE == float("inf")
    with pytest.raises(UnsegError, match=r"SOLVER\.BASE_LR"):
        load_cfg(None, ["SOLVER.BASE_LR", "1e999"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"_BASE_: loop.yaml\n", "leads back to it"),
        (b"_BASE_: 5\n", "with the name of a file as _BASE_"),
        (b"_BASE_: .\n", "The _BASE_ of .* is not a file"),
        (b"_BASE_: none.yaml\n", "The _BASE_ of .* cannot be read"),
        (b"_BASE_: https://example.org/a.yaml\n", "The _BASE_ of .* it is an address, which is not fetched"),
        (b"_BASE_: detectron2://Base.yaml\n", "The _BASE_ of .* it is an address, which is not fetched"),
        (b"SEED: 1\nSEED: 2\n", r"loop\.yaml is not valid YAML, line 2: SEED occurs twice, first in line 1"),
        (b"SOLVER: {MAX_ITER: 5}\nSEED: 2\nSOLVER: {BASE_LR: 1}\n", "line 3: SOLVER occurs twice, first in line 1"),
        (b"FEATURES:\n  MEMBERS: [{NAME: a, NAME: b}]\n", "line 2: NAME occurs twice"),
        (b"_BASE_: /dev/stdin\n", "The _BASE_ of .* is not a file"),
        (b"SEED: \xff\xfe\n", "not a recipe in UTF-8|not valid YAML"),
        (b"SEED: &a [*a]\n", "references to itself"),
        (b"a: &a {b: 1}\nc: &c {d: *c}\n", "references to itself"),
        (b"[" * 5000, "nested too deeply"),
        (b"SEED: !!python/object/apply:os.system ['touch harm']\n", "not valid YAML"),
    ],
)
def test_damaged_recipes_are_one_sentence(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.yaml").write_bytes(content)
    with pytest.raises(UnsegError, match=message) as caught:
        load_cfg("loop.yaml")
    assert "\n" not in str(caught.value).strip()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop.yaml"]


def test_a_recipe_of_references_that_multiply_is_refused(tmp_path: Path) -> None:
    lines = ["SEED0: &s0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"SEED{n}: &s{n} [{', '.join([f'*s{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "recipe.yaml").write_text("\n".join(lines))
    with pytest.raises(UnsegError, match="holds more than 100000 values"):
        load_cfg(tmp_path / "recipe.yaml")


def test_a_kind_of_features_brings_its_thresholds() -> None:
    """Stated keys stay, and those of another generator too; with other features the defaults are back."""
    descriptors = ["FEATURES.NAME", "descriptors", "MASKS.GENERATOR", "lost"]
    cfg = load_cfg(None, descriptors)
    assert cfg.MASKS.LOST.CENTER is True and cfg.MASKS.PROMERGE.MAX_LIKENESS == 0.1
    assert load_cfg(None, [*descriptors, "MASKS.LOST.CENTER", "False"]).MASKS.LOST.CENTER is False
    assert with_options(cfg, ["FEATURES.NAME", "vit"]).MASKS.LOST.CENTER is False
    other = with_options(cfg, ["MASKS.GENERATOR", "promerge"]).MASKS
    assert other.LOST.CENTER is False and other.PROMERGE.MAX_LIKENESS == 0.3
    stated = load_cfg(None, [*descriptors, "MASKS.LOST.CENTER", "False"])
    assert with_options(stated, ["SEED", 1]).MASKS.LOST.CENTER is False
    assert load_cfg("configs/offline/detector.yaml").MASKS.PROMERGE.TAU == 0.5


def test_a_key_that_occurs_twice_is_found_in_the_base_and_may_have_one_value(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SEED: 3\nSEED: 4\n")
    (tmp_path / "recipe.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(UnsegError, match=r"base\.yaml is not valid YAML, line 2: SEED occurs twice"):
        load_cfg(tmp_path / "recipe.yaml")
    (tmp_path / "base.yaml").write_text("SEED: 3\nSOLVER: &a {MAX_ITER: 9}\nSEED: 3\n")
    assert load_cfg(tmp_path / "recipe.yaml").SEED == 3
