"""Features by what can be had, with fetching replaced."""

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.planning.choice import choose, masks_of, recipe_of
from unseg_d2.planning.machine import Machine

CPU, GPU = Machine(0, 0.0, 2, "CPU"), Machine(1, 24.0, 8, "card")


def only(*kinds):
    """Return a check that passes for recipes of these kinds of features."""

    def check(cfg):
        kind = {"vit": "dino", "cnn": "offline"}.get(cfg.FEATURES.NAME, cfg.FEATURES.NAME)
        if kind not in kinds:
            raise UnsegError(f"no {kind} here.")

    return check


def test_the_machine_decides_on_the_size_of_the_network():
    assert choose("auto", CPU, check=only("dino")).recipe == "configs/photos/dino_cpu.yaml"
    assert choose("auto", GPU, check=only("dino")).recipe == "configs/photos/dino.yaml"


def test_what_cannot_be_had_is_replaced_by_the_next_and_said(caplog):
    with caplog.at_level("WARNING", "unseg_d2"):
        assert choose("auto", CPU, check=only("offline")).kind == "offline"
    assert "DINO's weights cannot be had here" in caplog.text


def test_nothing_learned_is_taken_only_by_name():
    assert choose("descriptors", CPU, check=only("descriptors")).kind == "descriptors"
    with pytest.raises(UnsegError) as error:
        choose("auto", CPU, check=only("descriptors"))
    message = str(error.value)
    for part in ("dino_resnet50_pretrain.pth", "dino_vits16", "FEATURES.WEIGHTS", "offline]", "--features descriptors"):
        assert part in message
    assert "\n" not in message


def test_a_kind_that_was_asked_for_is_never_replaced():
    with pytest.raises(UnsegError, match="no offline here"):
        choose("offline", CPU, check=only("dino", "descriptors"))
    with pytest.raises(UnsegError, match="auto, dino, offline, descriptors"):
        choose("dinos", CPU)


def test_masks_of_one_object_are_said_with_the_recipe_of_many():
    from unseg_d2.config import load_cfg

    one = recipe_of("offline", CPU)
    assert load_cfg(one).MASKS.GENERATOR == "activation"
    line = masks_of(one)
    assert "one salient object" in line and "\n" not in line
    assert load_cfg(line.rpartition(" ")[2]).MASKS.GENERATOR == "promerge"
    assert masks_of(recipe_of("dino", CPU)) == masks_of("configs/quickstart.yaml") == ""


@pytest.mark.parametrize("machine", [CPU, GPU])
@pytest.mark.parametrize("kind", ["dino", "offline", "descriptors"])
def test_every_kind_has_its_recipes(kind, machine):
    from unseg_d2.config import load_cfg
    from unseg_d2.recipes import find_recipe

    first = load_cfg(recipe_of(kind, machine))
    later = load_cfg(find_recipe(recipe_of(kind, machine)).parent / first.ROUNDS.RECIPE)
    assert first.MODEL.ROI_HEADS.USE_DROPLOSS and not later.MODEL.ROI_HEADS.USE_DROPLOSS
    assert later.SOLVER.BASE_LR == pytest.approx(first.SOLVER.BASE_LR / 2)
    assert first.SOLVER.REFERENCE_WORLD_SIZE == later.SOLVER.REFERENCE_WORLD_SIZE == 0
