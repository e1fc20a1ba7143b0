"""The training loop on batches made here: it learns, resumes bit for bit, and stops if a loss is not finite."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.sample import Sample
from unseg_d2.detectors import scoring
from unseg_d2.detectors.builtin.train import LoaderFactory, Trainer, train
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import last_checkpoint, load_checkpoint
from unseg_d2.loop.events import TrainingLog, read_reports


@pytest.fixture
def make_loader(make_sample: Callable) -> LoaderFactory:
    """Batch ``t`` depends only on ``t``, as with the real loader."""

    def loader(cfg: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
        for iteration in itertools.count(start_iter):
            yield [make_sample(64, 96, seed=2 * iteration), make_sample(96, 64, seed=2 * iteration + 1)]

    return loader


def recipe(tiny_cfg: Callable, folder: Path, **overrides: object) -> CfgNode:
    cfg = tiny_cfg(OUTPUT_DIR=folder, **{"SOLVER__MAX_ITER": 6, "SOLVER__CHECKPOINT_PERIOD": 2, **overrides})
    cfg.freeze()
    return cfg


def interrupted(make_loader: LoaderFactory, after: int) -> LoaderFactory:
    def loader(cfg: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
        yield from itertools.islice(make_loader(cfg, start_iter), after)
        raise KeyboardInterrupt

    return loader


def state(path: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(path)
    momenta = {str(key): value["momentum_buffer"] for key, value in checkpoint["optimizer"]["state"].items()}
    return {**checkpoint["model"], **momenta}


def test_a_resumed_run_equals_an_uninterrupted_one(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path
) -> None:
    overrides = {"TEST__PRECISE_BN__ENABLED": True, "TEST__PRECISE_BN__NUM_ITER": 2}
    whole = train(recipe(tiny_cfg, tmp_path / "whole", **overrides), make_loader, resume=False)
    cfg = recipe(tiny_cfg, tmp_path / "parts", **overrides)
    with pytest.raises(KeyboardInterrupt):
        train(cfg, interrupted(make_loader, after=3), resume=True)
    assert last_checkpoint(tmp_path / "parts").name == "model_0000001.pth"
    parts = train(cfg, make_loader, resume=True)
    expected, resumed = state(whole), state(parts)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    written = parts.stat().st_mtime_ns
    assert train(cfg, make_loader, resume=True).stat().st_mtime_ns == written  # nothing left to do


def test_what_a_run_leaves(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cfg = recipe(tiny_cfg, tmp_path, SOLVER__CHECKPOINT_PERIOD=3, TEST__EVAL_PERIOD=4, VIS_PERIOD=5)
    final = train(cfg, make_loader, resume=False, evaluate=lambda model: {"bbox/AP": 12.5})
    names = {file.name for file in tmp_path.iterdir() if not file.name.startswith("events.out.tfevents")}
    assert names == {"model_0000002.pth", "model_0000005.pth", "model_final.pth", "last_checkpoint", "metrics.json"}
    assert final == last_checkpoint(tmp_path) == tmp_path / "model_final.pth"
    figures, line = (json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines())
    assert figures == {"iteration": 3, "bbox/AP": 12.5}
    assert line["iteration"] == 5 and line["lr"] == pytest.approx(0.01)
    losses = sum(value for name, value in line.items() if name.startswith("loss_"))
    assert losses == pytest.approx(line["total_loss"], rel=0.5)  # medians do not add up exactly
    assert any(text.startswith("iter: 5/6  total_loss:") and "eta: 0:00:00" in text for text in caplog.messages)
    assert load_checkpoint(final)["scheduler"]["last_epoch"] == 6


def test_the_network_learns(tiny_cfg: Callable, make_sample: Callable, tmp_path: Path) -> None:
    samples = [make_sample(64, 96, seed=seed) for seed in range(2)]
    trainer = Trainer(recipe(tiny_cfg, tmp_path), resume=False)
    trainer.model.train()
    losses = [trainer._step(trainer.model, samples, iteration) for iteration in range(10)]
    assert losses[-1]["loss_rpn_cls"] < 0.9 * losses[0]["loss_rpn_cls"]
    assert losses[-1]["loss_mask"] < 0.9 * losses[0]["loss_mask"]


def test_a_loss_that_is_not_finite_stops_and_names_the_images(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path
) -> None:
    trainer = Trainer(recipe(tiny_cfg, tmp_path), resume=False)
    trainer.model.roi_heads.box_predictor[1].cls_score.bias.data[0] = float("nan")
    before = trainer.model.rpn.head.cls_logits.weight.clone()
    with pytest.raises(UnsegError, match=r"iteration 0: loss_cls_stage1.* not finite for the images 0.jpg, 1.jpg"):
        trainer.run(make_loader)
    assert torch.equal(trainer.model.rpn.head.cls_logits.weight, before)
    assert not list(tmp_path.glob("*.pth"))


def test_start_weights_do_not_bring_their_iteration(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path
) -> None:
    final = train(recipe(tiny_cfg, tmp_path / "first", SOLVER__MAX_ITER=1), make_loader, resume=False)
    trainer = Trainer(recipe(tiny_cfg, tmp_path / "second", MODEL__WEIGHTS=final), resume=True)
    assert trainer.start_iter == 0
    expected = load_checkpoint(final)["model"]["roi_heads.mask_head.predictor.weight"]
    assert torch.equal(trainer.model.roi_heads.mask_head.predictor.weight, expected)


def test_the_checkpoint_of_another_engine_is_not_resumed(tiny_cfg: Callable, tmp_path: Path) -> None:
    cfg = recipe(tiny_cfg, tmp_path)
    save_checkpoint(tmp_path / "model_0000001.pth", Trainer(cfg, resume=False).model, iteration=1)
    with pytest.raises(UnsegError, match="written by another engine"):
        Trainer(cfg, resume=True)


def test_an_error_closes_the_log(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    close = TrainingLog.close

    def closing(log: TrainingLog) -> None:
        closed.append(log.writer.log_dir)
        close(log)  # or its thread would write on, into a folder that is gone

    monkeypatch.setattr(TrainingLog, "close", closing)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(tiny_cfg, tmp_path), interrupted(make_loader, after=0), resume=False)
    assert closed == [str(tmp_path)]


def test_a_killed_run_ends_with_the_same_average_and_the_same_best(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path
) -> None:
    """The kill is after an evaluation whose iteration no checkpoint holds, so it is evaluated again."""
    more = {"SOLVER__EMA_DECAY": 0.9, "TEST__BEST": "bbox/AP", "TEST__EVAL_PERIOD": 1, "DATASETS__HELD_OUT": 0.5}

    def peak(model: torch.nn.Module) -> dict[str, float]:
        return {"bbox/AP": -abs(float(model.roi_heads.mask_head.predictor.bias.detach().sum()))}

    whole = train(recipe(tiny_cfg, tmp_path / "whole", **more), make_loader, resume=False, evaluate=peak)
    cfg = recipe(tiny_cfg, tmp_path / "parts", **more)
    with pytest.raises(KeyboardInterrupt):
        train(cfg, interrupted(make_loader, after=3), resume=True, evaluate=peak)
    parts = train(cfg, make_loader, resume=True, evaluate=peak)
    expected, resumed = state(whole), state(parts)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    records = [json.loads((folder / "best.json").read_text()) for folder in (whole.parent, parts.parent)]
    assert records[0] == records[1]
    best = [load_checkpoint(folder / "model_best.pth")["model"] for folder in (whole.parent, parts.parent)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])
    assert last_checkpoint(tmp_path / "parts").name == "model_final.pth"


def test_the_average_is_saved_and_the_weights_go_on(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path
) -> None:
    """After two iterations timm's warm-up gives 1 - 2^(-2/3) to the weights after the first, the rest to the newest."""
    name = "roi_heads.mask_head.predictor.weight"
    plain = {"SOLVER__CHECKPOINT_PERIOD": 1, "SOLVER__MAX_ITER": 2}
    train(recipe(tiny_cfg, tmp_path / "plain", **plain), make_loader, resume=False)
    final = train(recipe(tiny_cfg, tmp_path / "ema", SOLVER__EMA_DECAY=0.99, **plain), make_loader, resume=False)
    first, second = (load_checkpoint(tmp_path / "plain" / f"model_000000{k}.pth")["model"][name] for k in (0, 1))
    checkpoint = load_checkpoint(final)
    kept = 1 - 2 ** (-2 / 3)
    torch.testing.assert_close(checkpoint["model"][name], kept * first + (1 - kept) * second)
    assert torch.equal(checkpoint["live_model"][name], second)
    with pytest.raises(UnsegError, match=r"was written with an average of the weights; resume with the same SOLVER"):
        Trainer(recipe(tiny_cfg, tmp_path / "ema", SOLVER__MAX_ITER=4), resume=True)


def test_gradients_of_parts_add_up_to_those_of_the_batch(
    tiny_cfg: Callable, make_sample: Callable, unsampled: dict, tmp_path: Path
) -> None:
    """Nothing is sampled, and each image has as many boxes, so that the mean over parts is that over the batch."""
    batch = [make_sample(64, 96, instances=2, seed=seed) for seed in range(4)]

    def loader(cfg: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
        return itertools.repeat(batch)

    steps = {**unsampled, "SOLVER__MAX_ITER": 2}
    whole, parts = (
        load_checkpoint(train(recipe(tiny_cfg, tmp_path / str(k), **steps, SOLVER__ACCUMULATE=k), loader, resume=False))
        for k in (1, 3)
    )
    for name, weights in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], weights, atol=2e-6, rtol=2e-5)
    logged = [json.loads((tmp_path / str(k) / "metrics.json").read_text().splitlines()[-1]) for k in (1, 3)]
    assert logged[1]["total_loss"] == pytest.approx(logged[0]["total_loss"], rel=1e-5)


def test_a_batch_has_no_more_parts_than_images(tiny_cfg: Callable, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"SOLVER\.ACCUMULATE splits a batch into 3 parts, but each process has 2"):
        Trainer(recipe(tiny_cfg, tmp_path, SOLVER__IMS_PER_BATCH=2, SOLVER__ACCUMULATE=3), resume=False)


class Slow:
    """In the place of the process that scores: done after so many questions, or when it is waited for."""

    exitcode = 0
    questions = 0

    def __init__(self, folder: Path, cfg: CfgNode) -> None:
        self.left = Slow.questions
        self.work: tuple[Path, CfgNode] | None = (folder, cfg)

    def is_alive(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def join(self) -> None:
        if self.work is not None:
            scoring.score_kept(*self.work)

    def terminate(self) -> None:
        self.work = None


def looks(model: torch.nn.Module) -> list[scoring.Found]:
    """Find one to four of four objects; how many follows from the weights."""
    number = 1 + int(abs(float(model.roi_heads.mask_head.predictor.bias.detach().sum())) * 1e6) % 4
    about = {"image_id": 1, "iscrowd": 0, "category_id": 1, "area": 100}
    objects = [about | {"bbox": [20 * k, 0, 10, 10]} for k in range(4)]
    truth = {"images": [{"id": 1, "height": 20, "width": 80}], "annotations": objects}
    return [scoring.Found("", 1, [(truth, [{**item, "score": 0.5} for item in objects[:number]])])]


BESIDE = {
    "SOLVER__MAX_ITER": 4,
    "SOLVER__CHECKPOINT_PERIOD": 1,
    "TEST__BEST": "bbox/AR100",
    "TEST__EVAL_PERIOD": 2,
    "DATASETS__HELD_OUT": 0.5,
    "TEST__NO_SEGM": True,
}


def left(folder: Path) -> dict[str, object]:
    """Everything that a training leaves, apart from times."""
    found: dict[str, object] = {"best": (folder / "best.json").read_text()}
    for path in folder.glob("model_*.pth"):
        content = load_checkpoint(path)
        found[path.name] = [content.get("measured"), content["iteration"]]
        digest = hashlib.sha256()
        for tensor in content["model"].values():
            digest.update(tensor.numpy().tobytes())
        found[f"weights of {path.name}"] = digest.hexdigest()
    names = ("iteration", "bbox/AP", "bbox/AR100")
    found["log"] = [[line.get(name) for name in names] for line in read_reports(folder / "metrics.json")]
    return found


def test_scores_that_come_late_change_nothing(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come after the next checkpoint, or at the end; or the training is killed before that, and resumes."""
    at_once = recipe(tiny_cfg, tmp_path / "at once", **BESIDE)
    train(at_once, make_loader, resume=False, evaluate=looks)
    expected = left(tmp_path / "at once")
    assert len({line[2] for line in expected["log"] if line[2] is not None}) > 1, "the evaluations are all alike"
    monkeypatch.setattr(scoring, "BESIDE_FROM", 1)
    monkeypatch.setattr(scoring, "_begin", Slow)
    monkeypatch.setattr(Slow, "questions", 1)
    train(recipe(tiny_cfg, tmp_path / "late", **BESIDE), make_loader, resume=False, evaluate=looks)
    assert left(tmp_path / "late") == expected
    cfg = recipe(tiny_cfg, tmp_path / "killed", **BESIDE)
    with pytest.raises(KeyboardInterrupt):
        train(cfg, interrupted(make_loader, after=3), resume=True, evaluate=looks)
    assert (tmp_path / "killed" / "scoring" / "0000001").is_dir()
    train(cfg, make_loader, resume=True, evaluate=looks)
    assert left(tmp_path / "killed") == expected
    assert not (tmp_path / "killed" / "scoring").exists()


def test_scores_that_fail_end_the_training_and_are_tried_again(
    tiny_cfg: Callable, make_loader: LoaderFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BESIDE_FROM", 1)
    monkeypatch.setattr(scoring, "_begin", Slow)
    cfg = recipe(tiny_cfg, tmp_path, TEST__EVAL_PERIOD=2)
    metrics_of = scoring.metrics_of
    monkeypatch.setattr(scoring, "metrics_of", failing)
    with pytest.raises(UnsegError, match=r"evaluation of iteration 1 cannot be scored: the evaluator is on fire"):
        train(cfg, make_loader, resume=False, evaluate=looks)
    monkeypatch.setattr(scoring, "metrics_of", metrics_of)
    train(recipe(tiny_cfg, tmp_path, TEST__NO_SEGM=True), make_loader, resume=True)
    assert [line["iteration"] for line in read_reports(tmp_path / "metrics.json") if "bbox/AP" in line] == [1]


def failing(*_: object) -> None:
    raise UnsegError("the evaluator is on fire.")
