"""Detectron2's own ``build_model`` after ``add_unseg_config``: the heads that the keys ask for, or an error."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
import detectron2
import torch
from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, build_model
from detectron2.modeling.meta_arch import GeneralizedRCNN, PanopticFPN
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY, FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.utils.events import EventStorage

from unseg_d2.detectors.detectron2.config_node import BUILDER
from unseg_d2.detectors.detectron2.inputs import to_input
from unseg_d2.detectors.detectron2.roi_heads import DropLossStandardROIHeads, PseudoLabelOutputLayers
from unseg_d2.detectors.detectron2.uncertain import ConfidenceMaskHead
from unseg_d2.detectors.heads import stock_name
from unseg_d2.detectron2 import add_unseg_config
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "",
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
}
FPN = CONFIGS / "base_cascade_mask_rcnn_R_50_FPN.yaml"
ON = {
    "MODEL.ROI_HEADS.USE_DROPLOSS": True,
    "MODEL.ROI_HEADS.USE_SOFT_TARGETS": True,
    "MODEL.ROI_MASK_HEAD.CONFIDENCE": "spatial",
}


@ROI_HEADS_REGISTRY.register()
class TheirROIHeads(StandardROIHeads):
    """Heads of another project."""


@ROI_HEADS_REGISTRY.register()
class TheirDropLossROIHeads(DropLossStandardROIHeads):
    """Heads that another project has derived from ours."""


@ROI_MASK_HEAD_REGISTRY.register()
class TheirMaskHead(MaskRCNNConvUpsampleHead):
    """Mask head of another project."""


@META_ARCH_REGISTRY.register()
class TheirRCNN(GeneralizedRCNN):
    """A whole network of another project."""


@pytest.fixture
def make() -> Callable[..., CN]:
    """Return ``make(**overrides)``: a Detectron2 configuration of a small network, with our keys."""

    def configuration(recipe: Path = FPN, **overrides: Any) -> CN:
        cfg = get_cfg()
        add_unseg_config(cfg)
        cfg.merge_from_file(str(recipe))
        values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
        cfg.merge_from_list([word for pair in values.items() for word in pair])
        return cfg

    return configuration


def parts(model: torch.nn.Module) -> list[str]:
    """Names of the classes of a network, its RoI heads, box predictor and mask head."""
    heads: Any = model.roi_heads
    predictor = heads.box_predictor[0] if isinstance(heads.box_predictor, torch.nn.ModuleList) else heads.box_predictor
    return [type(part).__name__ for part in (model, heads, predictor, getattr(heads, "mask_head", None))]


CASCADE = ["GeneralizedRCNN", "DropLossCascadeROIHeads", "PseudoLabelOutputLayers", "ConfidenceMaskHead"]


@pytest.mark.parametrize(
    "recipe", ["cuts3d/cascade_mask_rcnn_R_50_FPN", "cutler/cascade_mask_rcnn_R_50_FPN", "cuvler/mask_rcnn_R_50_FPN"]
)
def test_recipes_of_ours_get_their_heads(recipe: str, make: Callable[..., CN]) -> None:
    cfg = make(CONFIGS / f"{recipe}.yaml")
    expected = CASCADE if "cascade" in recipe else [CASCADE[0], "DropLossStandardROIHeads", *CASCADE[2:]]
    model = build_model(cfg)
    assert parts(model) == expected
    heads = model.roi_heads
    first = heads.box_predictor[0] if "cascade" in recipe else heads.box_predictor
    assert first.droploss_iou_thresh == 0.01
    assert first.soft_targets == heads.mask_head.soft_targets == ("cuvler" in recipe)
    assert heads.mask_head.confidence == ("spatial" if "cuts3d" in recipe else "none")


DETECTORS = ("cutler", "cuvler", "cuts3d", "promerge", "label_efficient")


@pytest.mark.parametrize("folder", DETECTORS)
def test_every_recipe_of_ours_gets_heads_that_know_its_keys(folder: str, make: Callable[..., CN]) -> None:
    recipes = sorted((CONFIGS / folder).glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        cfg = make(recipe, MODEL__DEVICE="meta")
        if "timm" in cfg.MODEL.BACKBONE.NAME:
            continue  # SMALL describes a ResNet
        with torch.device("meta"):
            heads = build_model(cfg).roi_heads
        cascade = stock_name(cfg.MODEL.ROI_HEADS.NAME) == "CascadeROIHeads"
        predictor = heads.box_predictor[0] if cascade else heads.box_predictor
        wanted = cfg.MODEL.ROI_HEADS
        assert isinstance(predictor, PseudoLabelOutputLayers) == (wanted.USE_DROPLOSS or wanted.USE_SOFT_TARGETS)
        if wanted.USE_DROPLOSS:
            assert predictor.droploss_iou_thresh == wanted.DROPLOSS_IOU_THRESH
        assert getattr(heads.mask_head, "confidence", "none") == cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE


def test_a_recipe_without_our_keys_is_detectron2s_alone(make: Callable[..., CN]) -> None:
    cfg = make()
    assert cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert parts(build_model(cfg)) == [
        "GeneralizedRCNN",
        "CascadeROIHeads",
        "FastRCNNOutputLayers",
        "MaskRCNNConvUpsampleHead",
    ]


@pytest.mark.parametrize("key", ON)
def test_each_key_alone(key: str, make: Callable[..., CN]) -> None:
    model = build_model(make(**{key: ON[key]}))
    predictor, mask_head = model.roi_heads.box_predictor[0], model.roi_heads.mask_head
    assert isinstance(predictor, PseudoLabelOutputLayers) == (key != "MODEL.ROI_MASK_HEAD.CONFIDENCE")
    assert isinstance(mask_head, ConfidenceMaskHead)


def as_it_is(cfg: CN) -> CN:
    return cfg


def dumped_and_merged(cfg: CN) -> CN:
    other = get_cfg()
    add_unseg_config(other)
    other.merge_from_other_cfg(CN.load_cfg(cfg.dump()))
    return other


def assigned_later(cfg: CN) -> CN:
    cfg.MODEL.ROI_HEADS.USE_DROPLOSS = False
    assert cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.ROI_HEADS.USE_DROPLOSS = True
    return cfg


def of_two_projects(cfg: CN) -> CN:
    cfg.MODEL.THEIRS = CN({"A": 1})
    cfg.MODEL.THEIRS.B = CN({"C": 2})
    cfg.merge_from_other_cfg(CN({"MODEL": {"THEIRS": {"B": {"C": 3}}}}))
    assert cfg.MODEL.THEIRS.B.C == 3
    add_unseg_config(cfg)  # again
    return cfg


def copied(cfg: CN) -> CN:
    return cfg.clone()


def frozen(cfg: CN) -> CN:
    cfg.freeze()
    return cfg.clone()


def pickled(cfg: CN) -> CN:
    return pickle.loads(pickle.dumps(cfg))


def of_an_older_version(cfg: CN, tmp: Path = Path()) -> CN:
    """Detectron2 converts files of version 1 by replacing all sections."""
    file = tmp / "old.yaml"
    file.write_text("VERSION: 1\nMODEL: {ROI_HEADS: {USE_DROPLOSS: True}}\n")
    cfg.merge_from_file(str(file))
    return cfg


@pytest.mark.parametrize(
    "change", [as_it_is, dumped_and_merged, assigned_later, of_two_projects, copied, frozen, pickled]
)
def test_whatever_is_done_to_the_configuration(change: Callable[[CN], CN], make: Callable[..., CN]) -> None:
    cfg = change(make(MODEL__ROI_HEADS__USE_DROPLOSS=True))
    assert cfg.MODEL.META_ARCHITECTURE == BUILDER
    assert cfg.MODEL["META_ARCHITECTURE"] == "GeneralizedRCNN"
    assert "META_ARCHITECTURE: GeneralizedRCNN" in cfg.dump()
    assert parts(build_model(cfg)) == CASCADE
    assert cfg.MODEL.ROI_HEADS.NAME == "CascadeROIHeads"  # building changes nothing


def test_old_files(make: Callable[..., CN], tmp_path: Path) -> None:
    cfg = of_an_older_version(make(), tmp_path)
    assert parts(build_model(cfg)) == CASCADE


def test_another_projects_configuration_takes_the_values(make: Callable[..., CN]) -> None:
    theirs = get_cfg()
    theirs.merge_from_other_cfg(CN({"MODEL": {"ROI_HEADS": {"NUM_CLASSES": 3}}}))
    cfg = make()
    cfg.merge_from_other_cfg(theirs)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3


def test_keys_that_a_whole_network_ignores(make: Callable[..., CN]) -> None:
    for key, value in ON.items():
        cfg = make(MODEL__META_ARCHITECTURE="ProposalNetwork", **{key: value})
        with pytest.raises(UnsegError, match=rf"{key} is {value}, but ProposalNetwork does not use MODEL\.ROI_"):
            build_model(cfg)


def test_networks_with_roi_heads_of_detectron2_and_of_others(make: Callable[..., CN]) -> None:
    others = make(MODEL__META_ARCHITECTURE="TheirRCNN", MODEL__ROI_HEADS__USE_DROPLOSS=True)
    assert parts(build_model(others)) == ["TheirRCNN", *CASCADE[1:]]
    panoptic = make(MODEL__META_ARCHITECTURE="PanopticFPN", MODEL__ROI_HEADS__USE_DROPLOSS=True)
    model = build_model(panoptic)
    assert isinstance(model, PanopticFPN) and parts(model)[1:] == CASCADE[1:]


@pytest.mark.parametrize("key", ON)
def test_heads_of_others_that_ignore_a_key(key: str, make: Callable[..., CN]) -> None:
    theirs = {"ROI_MASK_HEAD": "TheirMaskHead"} if key.endswith("CONFIDENCE") else {"ROI_HEADS": "TheirROIHeads"}
    names = {f"MODEL.{part}.NAME": name for part, name in theirs.items()}
    part, name = next(iter(theirs.items()))
    with pytest.raises(UnsegError, match=rf"{key} is {ON[key]}, but MODEL\.{part}\.NAME is {name}, which ignores it"):
        build_model(make(**names, **{key: ON[key]}))


def test_heads_derived_from_ours_are_as_good(make: Callable[..., CN]) -> None:
    cfg = make(MODEL__ROI_HEADS__NAME="TheirDropLossROIHeads", MODEL__ROI_HEADS__USE_DROPLOSS=True)
    assert parts(build_model(cfg))[1:3] == ["TheirDropLossROIHeads", "PseudoLabelOutputLayers"]


def test_unknown_heads_and_values(make: Callable[..., CN]) -> None:
    with pytest.raises(
        UnsegError, match=r"is CascadeROIHead, but Detectron2 knows no heads.*Did you mean 'CascadeROIHeads'"
    ):
        build_model(make(MODEL__ROI_HEADS__NAME="CascadeROIHead", MODEL__ROI_HEADS__USE_DROPLOSS=True))
    with pytest.raises(UnsegError, match="confidence must be one of 'none', 'spatial', 'scalar'"):
        build_model(make(MODEL__ROI_MASK_HEAD__CONFIDENCE="full"))
    with pytest.raises(UnsegError, match=r"LOSSES\.CLASSIFICATION is 'focal', but must be one of"):
        build_model(make(LOSSES__CLASSIFICATION="focal"))
    with pytest.raises(UnsegError, match=f"is {BUILDER}, which is no network; set it to GeneralizedRCNN"):
        build_model(make(MODEL__META_ARCHITECTURE=BUILDER, MODEL__ROI_HEADS__USE_DROPLOSS=True))


def test_published_names_need_no_registration(make: Callable[..., CN]) -> None:
    """CutLER's self-training and label-efficient files name its heads with every key off."""
    cfg = make(
        MODEL__ROI_HEADS__NAME="CustomCascadeROIHeads", MODEL__ROI_MASK_HEAD__NAME="CustomMaskRCNNConvUpsampleHead"
    )
    assert "CustomCascadeROIHeads" not in ROI_HEADS_REGISTRY
    assert parts(build_model(cfg)) == [*CASCADE[:2], FastRCNNOutputLayers.__name__, CASCADE[3]]


def test_networks_on_one_feature_map(make: Callable[..., CN], make_sample: Callable, tmp_path: Path) -> None:
    """Detectron2's C4 recipes: DropLoss and soft targets in the heads that share res5 with the masks."""
    recipe = tmp_path / "c4.yaml"
    recipe.write_text("MODEL: {MASK_ON: True, RPN: {PRE_NMS_TOPK_TRAIN: 200, POST_NMS_TOPK_TRAIN: 50}}\n")
    cfg = make(
        recipe,
        MODEL__RESNETS__DEPTH=50,
        MODEL__RESNETS__RES2_OUT_CHANNELS=16,
        MODEL__RESNETS__STEM_OUT_CHANNELS=8,
        MODEL__RESNETS__WIDTH_PER_GROUP=4,
        MODEL__ROI_HEADS__NUM_CLASSES=1,
        MODEL__ROI_BOX_HEAD__POOLER_RESOLUTION=8,
        **ON,
    )
    model = build_model(cfg)
    assert parts(model) == [CASCADE[0], "DropLossRes5ROIHeads", *CASCADE[2:]]
    sample = make_sample()
    sample.scores = torch.tensor([1.0, 0.5, 0.0])
    sample.confidence = torch.full(sample.masks.shape, 255, dtype=torch.uint8)

    def losses() -> dict[str, float]:
        torch.manual_seed(0)
        with EventStorage():
            found = model([to_input(sample, channel_order="BGR")])
        return {name: loss.item() for name, loss in found.items()}

    before = losses()
    model.roi_heads.box_predictor.droploss_iou_thresh = 2.0  # no IoU is above it, so every region is dropped
    assert before["loss_cls"] > 0 and losses()["loss_cls"] == 0
    sample.scores = torch.zeros(3)
    assert losses()["loss_box_reg"] == losses()["loss_mask"] == 0 < before["loss_mask"]


def test_a_frozen_or_foreign_configuration_is_refused() -> None:
    cfg = get_cfg()
    cfg.freeze()
    with pytest.raises(UnsegError, match=r"is frozen; call add_unseg_config before cfg\.freeze"):
        add_unseg_config(cfg)

    class TheirNode(CN):
        pass

    with pytest.raises(UnsegError, match=r"needs the configuration of detectron2\.config\.get_cfg"):
        add_unseg_config(TheirNode(get_cfg()))


def test_auto_is_a_device(make: Callable[..., CN]) -> None:
    cfg = make(MODEL__DEVICE="auto", MODEL__ROI_HEADS__USE_DROPLOSS=True)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert cfg.MODEL.DEVICE == expected and cfg.MODEL["DEVICE"] == "auto"
    assert next(build_model(cfg).parameters()).device.type == expected


def test_networks_can_be_copied_and_their_checkpoints_are_detectron2s(make: Callable[..., CN]) -> None:
    model = build_model(make(MODEL__ROI_HEADS__USE_DROPLOSS=True, DATALOADER__COPY_PASTE=True))
    assert parts(pickle.loads(pickle.dumps(copy.deepcopy(model)))) == CASCADE
    assert model.state_dict().keys() == build_model(make()).state_dict().keys()


def test_a_process_that_only_loads_the_configuration(make: Callable[..., CN], tmp_path: Path) -> None:
    """As those are that Detectron2's ``launch`` spawns."""
    (tmp_path / "cfg.pkl").write_bytes(pickle.dumps(make(MODEL__ROI_HEADS__USE_DROPLOSS=True)))
    code = (
        "import pickle, sys\nfrom detectron2.modeling import build_model\n"
        "print(type(build_model(pickle.load(open(sys.argv[1], 'rb'))).roi_heads).__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cfg.pkl")]
    done = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True)
    assert done.stdout == "DropLossCascadeROIHeads\n", done.stderr


@pytest.mark.parametrize("part", ["ROI_HEADS", "ROI_MASK_HEAD"])
def test_our_heads_without_our_keys(part: str) -> None:
    """CutLER's own keys are not enough, and Detectron2's even less."""
    cfg = get_cfg()
    cfg.merge_from_file(str(detectron2_recipe("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")))
    cfg.MODEL[part].NAME = {"ROI_HEADS": "DropLossStandardROIHeads", "ROI_MASK_HEAD": "ConfidenceMaskHead"}[part]
    cfg.MODEL.ROI_HEADS.USE_DROPLOSS = True
    cfg.MODEL.DEVICE = "cpu"
    with pytest.raises(UnsegError, match=r"lacks the keys of unseg_d2: call add_unseg_config\(cfg\) before merging"):
        build_model(cfg)


def detectron2_recipe(name: str) -> Path:
    return Path(detectron2.__file__).parent / "model_zoo" / "configs" / name


@pytest.mark.slow
@pytest.mark.parametrize("key", ON)
def test_all_recipes_of_detectron2(key: str) -> None:
    """Each either gets heads that compute a key, or names the key; no network is allocated."""
    built, refused = Counter(), Counter()
    for recipe in sorted(detectron2_recipe("").rglob("*.yaml")):
        cfg = get_cfg()
        add_unseg_config(cfg)
        cfg.merge_from_file(str(recipe))
        cfg.merge_from_list(["MODEL.DEVICE", "meta", key, ON[key]])
        try:
            with torch.device("meta"):
                model = build_model(cfg)
        except UnsegError as error:
            assert key in str(error)
            refused[cfg.MODEL["META_ARCHITECTURE"] if cfg.MODEL.MASK_ON else "boxes"] += 1
            continue
        built[type(model).__name__] += 1
        name = "ConfidenceMaskHead" if key.endswith("CONFIDENCE") else "PseudoLabelOutputLayers"
        assert name in {type(module).__name__ for module in model.modules()}
    assert built["GeneralizedRCNN"] > 30 and built["PanopticFPN"] == 8
    assert refused.total() > 10 and built.total() + refused.total() == 92
