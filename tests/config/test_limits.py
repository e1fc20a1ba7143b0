"""Keys of Detectron2 that nothing here acts on: set to another value they are refused."""

from __future__ import annotations

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.config.limits import WHAT_WORKS
from unseg_d2.errors import UnsegError

OTHERS = {
    "DATASETS.PROPOSAL_FILES_TRAIN": "('boxes.pkl',)",
    "DATASETS.PROPOSAL_FILES_TEST": "['boxes.pkl']",
    "DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler",
    "DATALOADER.REPEAT_THRESHOLD": "0.001",
    "INPUT.CROP.ENABLED": "True",
    "MODEL.KEYPOINT_ON": "True",
    "MODEL.LOAD_PROPOSALS": "True",
    "TEST.AUG.ENABLED": "True",
}


@pytest.mark.parametrize("key", WHAT_WORKS)
def test_a_value_that_nothing_would_come_of_is_refused(key):
    with pytest.raises(UnsegError, match=rf"^{key} is .*, but only .* is possible\.$"):
        load_cfg(None, [key, OTHERS[key]])


def test_an_empty_list_is_an_empty_tuple(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("DATASETS: {PROPOSAL_FILES_TRAIN: []}\nDATALOADER: {SAMPLER_TRAIN: TrainingSampler}\n")
    assert load_cfg(recipe).DATASETS.PROPOSAL_FILES_TRAIN == ()
