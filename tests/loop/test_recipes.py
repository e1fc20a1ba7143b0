"""Settings that may differ when a training is resumed."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from pathlib import Path

import pytest

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.recipes import MAY_CHANGE, about_run, check_recipe, recipe_in, recipe_of


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_keys_that_may_change_exist(name):
    reduce(getitem, name.removesuffix(".").split("."), get_cfg())


def test_a_task_names_keys_of_its_own_that_may_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    before, now = ({"recipe": load_cfg(None, ["SEMANTIC.CACHE_GB", size]).dump()} for size in ("1.0", "2.0"))
    with pytest.raises(UnsegError, match=r"other settings: SEMANTIC.CACHE_GB was 1.0, now 2.0\. Choose"):
        check_recipe(before, Path("model.pth"), now)
    check_recipe(before, Path("model.pth"), now, ("SEMANTIC.CACHE",))
    assert "which may change: SEMANTIC.CACHE_GB was 1.0, now 2.0." in caplog.messages[-1]


def test_trust_may_be_added_to_any_training(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    before, now = ({"recipe": load_cfg(None, opts).dump()} for opts in ([], ["MODEL.TRUST_CHECKPOINT", "True"]))
    check_recipe(before, Path("model.pth"), now)
    assert "MODEL.TRUST_CHECKPOINT was False, now True." in caplog.messages[-1]


def test_weights_of_the_features_are_known_by_content() -> None:
    before = about_run(load_cfg(None, ["FEATURES.WEIGHTS", "a.pth"]), {"features": "12", "images": "34"})
    moved = load_cfg(None, ["FEATURES.WEIGHTS", "elsewhere/a.pth"])
    check_recipe(before, Path("model.pth"), about_run(moved, {"features": "12", "images": "34"}))
    with pytest.raises(UnsegError, match=r"with other settings: made_from\.features was '12', now '56'"):
        check_recipe(before, Path("model.pth"), about_run(moved, {"features": "56", "images": "34"}))
    earlier = {key: value for key, value in before.items() if key != "made_from"}
    with pytest.raises(UnsegError, match=r"FEATURES\.WEIGHTS was 'a.pth'"):
        check_recipe(earlier, Path("model.pth"), about_run(moved, {"features": "12"}))


def test_a_checkpoint_brings_no_code(tmp_path: Path) -> None:
    harm = tmp_path / "harmful_plugin.py"
    harm.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'harm')!r}).touch()\n")
    for plugins in (harm, f"[{harm}]"):
        stored = {"task": "saliency", "recipe": f"PLUGINS: {plugins}\nMODEL: {{TRUST_CHECKPOINT: true}}\n"}
        with pytest.raises(UnsegError, match=r"names the plug-in .*harmful_plugin\.py, which is code; if you trust"):
            recipe_of(stored, "model.pth", "saliency")
    assert not (tmp_path / "harm").exists()
    cfg = recipe_of(stored, "model.pth", "saliency", ["PLUGINS", repr((str(harm),))])
    assert (tmp_path / "harm").exists() and not cfg.MODEL.TRUST_CHECKPOINT
    assert recipe_in("MODEL: {TRUST_CHECKPOINT: true}", "m.pth").MODEL.TRUST_CHECKPOINT is False


@pytest.mark.parametrize("recipe", ["[1, 2]", "a: [", "SEED: !!python/name:os.system"])
def test_a_damaged_recipe_in_a_checkpoint_is_one_sentence(recipe: str) -> None:
    with pytest.raises(UnsegError, match=r"The recipe in model\.pth is missing or damaged"):
        recipe_of({"task": "saliency", "recipe": recipe}, "model.pth", "saliency")
