"""A run that is killed and resumed ends in the same bytes as an uninterrupted one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.batches import batch_rng
from unseg_d2.loop.checkpoint import load_network
from unseg_d2.loop.events import TrainingLog
from unseg_d2.loop.loop import StepSettings, train_steps

STEPS = 7


class Averaged(nn.Module):
    """A network with every kind of state: weights, running statistics, an average, and dropout."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1))
        self.average = nn.Linear(3, width).requires_grad_(False)


def run(folder, *, resume=False, stop=None, workers=0, network=None, scale=1.0, steps=STEPS, about=None):
    """Train; if ``stop`` is given, be killed right after that step, before its checkpoint is written."""
    network = network or Averaged()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)

    def make_batch(t):
        return torch.from_numpy(batch_rng(5, t).standard_normal((8, 3))).float()

    def losses(batch, t):
        return {
            "loss_square": scale * network.layers(batch).square().mean(),
            "loss_plain": network.layers(batch).mean(),
        }

    def average(t):
        network.average.weight.lerp_(network.layers[0].weight.detach(), 0.5)
        if t == stop:
            raise KeyboardInterrupt

    settings = StepSettings(
        *(folder, steps, 8, torch.device("cpu"), 5),
        checkpoint_period=2,
        eval_period=0,
        amp=False,
        num_workers=workers,
        tracker="",
    )
    about = {"width": 4, **(about or {})}
    return train_steps(network, optimizer, make_batch, losses, settings, resume=resume, after_step=average, about=about)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def content(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("stop", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_ends_in_the_same_state(tmp_path, stop, workers):
    whole = content(run(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", stop=stop, workers=workers)
    resumed = content(run(tmp_path / "killed", resume=True, workers=workers))
    assert same(whole, resumed)
    assert whole["iteration"] == STEPS - 1 and whole["width"] == 4


def test_files_have_the_same_names_as_those_of_a_detector(tmp_path):
    final = run(tmp_path)
    assert final == tmp_path / "model_final.pth"
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {"model_0000001.pth", "model_0000003.pth", "model_0000005.pth", "model_final.pth"}
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert lines[-1]["iteration"] == STEPS - 1
    assert lines[-1]["total_loss"] == pytest.approx(lines[-1]["loss_square"] + lines[-1]["loss_plain"], abs=1)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_finished_run_is_left_alone_and_a_longer_one_resumes(tmp_path):
    final = run(tmp_path)
    written = final.stat().st_mtime_ns
    assert run(tmp_path, resume=True).stat().st_mtime_ns == written
    assert content(run(tmp_path, resume=True, steps=STEPS + 2))["iteration"] == STEPS + 1


def test_without_any_checkpoint_left_it_begins_anew(tmp_path, caplog):
    whole = content(run(tmp_path / "whole"))
    (tmp_path / "emptied").mkdir()
    (tmp_path / "emptied" / "last_checkpoint").write_text("model_final.pth")  # the rest was removed
    assert same(whole, content(run(tmp_path / "emptied", resume=True)))
    assert any("nor an earlier checkpoint; the training begins anew" in message for message in caplog.messages)


def recipe(*opts):
    return {"recipe": load_cfg(None, opts).dump()}


def test_another_recipe_is_not_resumed(tmp_path):
    run(tmp_path, about=recipe("SOLVER.BASE_LR", "0.5"))
    message = r"other settings: SEED was 0, now 3; SOLVER.BASE_LR was 0.5, now 0.25\. Choose another OUTPUT_DIR"
    with pytest.raises(UnsegError, match=message):
        run(tmp_path, resume=True, about=recipe("SOLVER.BASE_LR", "0.25", "SEED", "3", "TEST.IMS_PER_BATCH", "4"))
    assert load_cfg(tmp_path / "config.yaml").SOLVER.BASE_LR == 0.5
    unimportant = ["SOLVER.MAX_ITER", "9", "OUTPUT_DIR", "elsewhere", "MODEL.DEVICE", "cuda", "TEST.EVAL_PERIOD", "2"]
    run(tmp_path, resume=True, steps=STEPS + 2, about=recipe("SOLVER.BASE_LR", "0.5", *unimportant))


def test_a_checkpoint_without_a_recipe_is_not_resumed(tmp_path):
    run(tmp_path)
    with pytest.raises(UnsegError, match=r"The recipe in .* is missing or damaged"):
        run(tmp_path, resume=True, about=recipe())


def test_a_checkpoint_of_another_width_is_refused(tmp_path):
    final = run(tmp_path)
    with pytest.raises(UnsegError, match=r"of another shape \(average\.bias \(4,\) instead of \(6,\)"):
        load_network(Averaged(6), final)
    with pytest.raises(UnsegError, match="missing in the file"):
        load_network(nn.Sequential(nn.Linear(3, 4)), final)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(UnsegError, match="step 0: loss_square is not finite"):
        run(tmp_path, scale=float("nan"))


def test_settings_of_a_recipe(tmp_path):
    options = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "3", "SOLVER.AMP.ENABLED", "True", "MODEL.DEVICE", "cpu"]
    settings = StepSettings.from_config(load_cfg(None, options))
    assert (settings.output, settings.max_iter, settings.amp) == (tmp_path, 3, False)


def test_an_error_closes_the_log(tmp_path, monkeypatch):
    closed = []
    close = TrainingLog.close

    def closing(log: TrainingLog) -> None:
        closed.append(log.writer.log_dir)
        close(log)  # or its thread would write on, into a folder that is gone

    monkeypatch.setattr(TrainingLog, "close", closing)
    with pytest.raises(UnsegError, match="not finite"):
        run(tmp_path, scale=float("nan"))
    assert closed == [str(tmp_path)]
