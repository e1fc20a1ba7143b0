"""Batches that nothing was pasted into: an error in training, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from unseg_d2.data.sample import Sample
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.inputs import MARKER, to_input
from unseg_d2.detectors.detectron2.paste_check import check_pasted
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


def test_a_batch_of_another_loader(make_sample: Callable[..., Sample]) -> None:
    network = torch.nn.Identity().train()
    data = to_input(make_sample(), channel_order="RGB", copy_paste=True)
    check_pasted(network, ([data],))
    for other in ({key: value for key, value in data.items() if key != MARKER}, data | {MARKER: {"copy_paste": False}}):
        with pytest.raises(
            UnsegError, match=r"COPY_PASTE is True, but 0\.jpg comes from a loader that pastes nothing;"
        ):
            check_pasted(network, ([data, other],))
        with torch.no_grad():
            check_pasted(network, ([data, other],))  # PreciseBN
        check_pasted(torch.nn.Identity().eval(), ([data, other],))


@pytest.mark.parametrize("asked", [True, False])
def test_the_built_network_looks(
    asked: bool, make_sample: Callable[..., Sample], tiny_cfg: Callable[..., CfgNode]
) -> None:
    cfg = tiny_cfg(DATALOADER__COPY_PASTE=asked, DATALOADER__COPY_PASTE_RATE=1.0)
    model = build_model(to_detectron2(cfg))
    data = to_input(make_sample(), channel_order="RGB")
    with EventStorage():
        if asked:
            with pytest.raises(UnsegError, match="pastes nothing"):
                model([data])
            data = to_input(make_sample(), channel_order="RGB", copy_paste=True)
        assert model([data])
