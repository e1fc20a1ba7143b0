"""The state machine of self-training, with an engine that takes no time."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, write_weights

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import read_metrics
from unseg_d2.training import rounds
from unseg_d2.training.plan import Plan
from unseg_d2.training.rounds import self_train

RECIPES = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def from_images(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Three tiny scenes, one to evaluate on, and one round."""
    folder = tmp_path_factory.mktemp("rounds")
    opts = ("SYNTHETIC.ROOT", str(folder / "scenes"), "SYNTHETIC.NUM_TRAIN", "3", "SYNTHETIC.NUM_VAL", "1",
            "SYNTHETIC.SIZE", "(72, 96)", "FEATURES.IMAGE_SIZE", "160")  # fmt: skip
    recipe = str(RECIPES / "quickstart_instant.yaml")
    return Plan(recipe, opts, folder / "run", 1, images="synthetic_train", ground_truth="synthetic_val")


@pytest.fixture(scope="module")
def rows(from_images: Plan) -> list[tuple[str, dict]]:
    """The metrics of a whole run, computed once."""
    with pytest.MonkeyPatch.context() as patch:
        use(FakeEngine(), patch)
        return self_train(from_images).rows


@pytest.fixture
def plan(from_images: Plan, rows: object, tmp_path: Path) -> Plan:
    """The same run from its label set, in a new folder: no masks have to be made."""
    labels = str(from_images.output / "round0" / "masks" / "labels.json")
    return replace(from_images, output=tmp_path / "run", images="", labels=labels)


def use(engine: FakeEngine, patch: pytest.MonkeyPatch) -> FakeEngine:
    """Run the rounds with this engine."""
    patch.setattr(rounds, "select_engine", lambda _: engine)
    return engine


def test_steps_of_a_whole_run(from_images: Plan, rows: list[tuple[str, dict]]) -> None:
    assert [name for name, _ in rows] == ["pseudo-masks", "round 0", "round 1"]
    assert [step["name"] for step in json.loads((from_images.output / "rounds.json").read_text())["steps"]] == [
        "masks", "score_masks", "train", "evaluate", "predict", "merge", "train", "evaluate",
    ]  # fmt: skip


def test_inputs_of_the_trainings(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = use(FakeEngine(), monkeypatch)
    rows = self_train(plan).rows
    assert [name for name, _ in rows] == ["round 0", "round 1"]
    first, second = engine.trained
    assert first["weights"] == "" and first["labels"].endswith("round0/masks/labels.json")
    assert second["weights"].endswith("round0/model_final.pth") and second["labels"].endswith("round1/labels.json")


def test_the_merged_set_holds_the_detections(from_images: Plan, rows: object) -> None:
    merged = json.loads((from_images.output / "round1" / "labels.json").read_text())
    assert [a["score"] for a in merged["annotations"]].count(pytest.approx(0.9)) == 3


def test_the_end_is_shown(from_images: Plan, rows: object) -> None:
    """The page shows the picture of the one image, the plot the name of every stage."""
    assert "000001.png" in (from_images.output / "gallery.html").read_text()
    assert "round 1" in (from_images.output / "figures.svg").read_text()


def test_interrupted_anywhere_it_ends_in_the_same_state(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeEngine(), monkeypatch)
    whole = replace(plan, output=plan.output.with_name("whole"))
    rows = self_train(whole).rows
    interruptions = 0
    for images in range(6):
        use(FakeEngine(fail_after=images), monkeypatch)
        try:
            assert self_train(plan).rows == rows
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions >= 2
    for name in ("round1/predictions/predictions.json", "round1/labels.json", "round1/figures.json"):
        assert (plan.output / name).read_bytes() == (whole.output / name).read_bytes()


def test_more_rounds_continue_from_the_last(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    engine = use(FakeEngine(), monkeypatch)
    self_train(replace(plan, rounds=2))
    assert [call["labels"].rsplit("/", 2)[1] for call in engine.trained] == ["round2"]


def test_other_settings_need_another_folder(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeEngine(), monkeypatch)
    self_train(replace(plan, rounds=0))
    with pytest.raises(UnsegError, match=r"other settings: recipes\.first\.SEED was 0, now 1"):
        self_train(replace(plan, opts=(*plan.opts, "SEED", "1")))


@pytest.fixture
def edited_rounds(plan: Plan, tmp_path: Path) -> Callable[[str], Plan]:
    """Return a function that writes a recipe of the rounds of its own, and the plan that uses it."""
    first = tmp_path / "first.yaml"
    first.write_text("_BASE_: configs/quickstart_instant.yaml\nROUNDS:\n  RECIPE: rounds.yaml\n")

    def edit(line: str) -> Plan:
        (tmp_path / "rounds.yaml").write_text(f"_BASE_: configs/quickstart_instant.yaml\n{line}\n")
        return replace(plan, config_file=str(first))

    return edit


NO_DETECTIONS = r"^DATASETS\.GRANULARITY ends at 0\.9, but detections state no granularity .*\(--rounds 0\)\.$"


def test_rounds_that_train_on_no_detection_are_refused_before_anything_is_made(
    edited_rounds: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use(FakeEngine(), monkeypatch)
    idle = edited_rounds("DATASETS:\n  GRANULARITY: (0.0, 0.9)")
    with pytest.raises(UnsegError, match=NO_DETECTIONS):
        self_train(idle)
    assert not idle.output.exists()
    self_train(replace(idle, rounds=0))  # the first training meets no detection
    with pytest.raises(UnsegError, match=NO_DETECTIONS):
        self_train(idle)
    with pytest.raises(UnsegError, match=NO_DETECTIONS):
        self_train(idle, restart=True)
    assert len(engine.trained) == 1 and (idle.output / "round0" / "model_final.pth").is_file()
    self_train(edited_rounds("DATASETS:\n  GRANULARITY: (0.1, 1.0)"))
    assert len(engine.trained) == 2


def test_rounds_that_have_begun_without_detections_resume_and_say_so(
    edited_rounds: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As earlier versions began them."""
    engine = use(FakeEngine(), monkeypatch)
    idle = edited_rounds("DATASETS:\n  GRANULARITY: (0.0, 0.9)")
    with monkeypatch.context() as earlier:
        earlier.setattr(Plan, "idle_rounds", lambda _: "")
        self_train(idle)
    caplog.clear()
    self_train(replace(idle, rounds=2))
    assert len(engine.trained) == 3
    (said,) = [message for message in caplog.messages if "GRANULARITY" in message]
    assert re.match(NO_DETECTIONS, said)


def test_an_edited_recipe_of_the_rounds_is_not_mixed(
    edited_rounds: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FakeEngine(), monkeypatch)
    self_train(edited_rounds("SEED: 5"))
    with pytest.raises(
        UnsegError, match=r"other settings: recipes\.rounds\.SEED was 5, now 6\. Choose another --output"
    ):
        self_train(edited_rounds("SEED: 6"))
    self_train(edited_rounds("MODEL:\n  TRUST_CHECKPOINT: True\nSEED: 5"))


def test_a_label_set_of_the_same_name_is_not_mixed(plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(FakeEngine(), monkeypatch)
    labels = tmp_path / "labels.json"
    content = Path(plan.labels).read_text()
    labels.write_text(content)
    root = Path(plan.labels).parent / json.loads(content)["info"]["image_root"]
    plan = replace(plan, labels=f"{labels}::{root}")
    self_train(replace(plan, rounds=0))
    labels.write_text(content + "\n")
    with pytest.raises(UnsegError, match=r"other settings: checksums\.labels was '\w+', now '\w+'"):
        self_train(plan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "no/such/folder", "labels": ""}, "There is no folder no/such/folder"),
        ({"labels": "none.json"}, "There is no file none.json"),
        ({"ground_truth": "none.json"}, "There is no file none.json"),
        ({"opts": ("MODEL.WEIGHTS", "none.pth")}, "There is no checkpoint none.pth"),
    ],
)
def test_what_is_not_there_leaves_no_run_behind(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    use(FakeEngine(), monkeypatch)
    with pytest.raises(UnsegError, match=message):
        self_train(replace(plan, **changes))
    assert not plan.output.exists()


def test_metrics_are_written_as_json_has_them(from_images: Plan, rows: list[tuple[str, dict]]) -> None:
    """No object is large, so there is no AP of large ones: null in the file, NaN in the rows."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for path, (_, metrics) in zip(("figures_masks", "figures"), rows):
        written = json.loads((from_images.output / f"round0/{path}.json").read_text(), parse_constant=refuse)
        assert written["segm"]["APl"] is None and math.isnan(metrics["segm"]["APl"])
        assert written["segm"]["AR100"] == metrics["segm"]["AR100"]
    assert read_metrics(json.loads('{"bbox": {"AP": 1.0, "APl": NaN}}'))["bbox"]["AP"] == 1.0  # of earlier versions


def steps_made(plan: Plan, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    self_train(plan)
    return [message for message in caplog.messages if message.startswith("round ")]


def test_weights_that_were_deleted_are_made_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made from them is kept where they end the same."""
    caplog.set_level("INFO")
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    weights = plan.output / "round0" / "model_final.pth"
    weights.unlink()
    assert steps_made(plan, caplog) == [f"round 0: train again, since {weights} is gone"]
    assert weights.is_file() and steps_made(plan, caplog) == []


def test_what_was_made_from_other_weights_is_made_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    write_weights(plan.output / "round0" / "model_final.pth", "others")
    assert steps_made(plan, caplog)[:2] == [
        "round 0: evaluate again, since weights has changed since",
        "round 1: predict again, since weights has changed since",
    ]


def test_another_ground_truth_measures_again_and_trains_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    steps = steps_made(replace(plan, ground_truth="synthetic_train"), caplog)
    assert steps == [f"round {k}: evaluate again, since ground truth has changed since" for k in (0, 1)]
    steps = steps_made(replace(plan, ground_truth="synthetic_train", opts=(*plan.opts, "TEST.NO_SEGM", "True")), caplog)
    assert steps == [f"round {k}: evaluate again, since scoring has changed since" for k in (0, 1)]


def test_images_of_a_run_may_move_but_not_become_more(
    from_images: Plan, rows: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A renamed project goes on; `images` wins over what its files remember."""
    caplog.set_level("INFO")
    engine = use(FakeEngine(), monkeypatch)
    pictures = next(path for path in Path(from_images.opts[1]).rglob("images") if len(list(path.iterdir())) == 3)
    project = tmp_path / "project"
    shutil.copytree(pictures, project / "photos")
    plan = replace(from_images, output=project / "run", images=str(project / "photos"), ground_truth="", rounds=0)
    self_train(plan)
    project.rename(tmp_path / "renamed")
    moved = tmp_path / "renamed" / "photos"
    plan = replace(plan, output=tmp_path / "renamed" / "run", images=str(moved), rounds=1)
    assert [step.split()[2] for step in steps_made(plan, caplog)] == ["predict", "merge", "train"]
    assert all(str(moved) in name for name in engine.predicted[-3:])
    moved.rename(tmp_path / "staged")  # the images alone
    plan, predicted = replace(plan, images=str(tmp_path / "staged"), rounds=2), len(engine.predicted)
    assert [step.split()[2] for step in steps_made(plan, caplog)] == ["predict", "merge", "train"]
    assert all(str(tmp_path / "staged") in name for name in engine.predicted[predicted:])
    picture = next((tmp_path / "staged").glob("*.png"))
    shutil.copy(picture, tmp_path / "staged" / "added.png")
    with pytest.raises(UnsegError, match=r"num_images was 3, now 4\. Choose another --output"):
        self_train(plan)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("images", [None, 0], ids=["finished", "interrupted"])
def test_a_run_that_is_begun_anew_loses_nothing(
    images: int | None, plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    use(FakeEngine(fail_after=images), monkeypatch)
    with pytest.raises(KeyboardInterrupt) if images is not None else nullcontext():
        self_train(plan)
    (plan.output / "notes.txt").write_text("mine")
    before, other = content(plan.output), replace(plan, opts=(*plan.opts, "SEED", "1"))
    engine = use(FakeEngine(), monkeypatch)
    with pytest.raises(UnsegError, match=r"SEED was 0, now 1.*begin anew with --restart, which keeps it\."):
        self_train(other)
    assert content(plan.output) == before
    self_train(other, restart=True)
    assert len(engine.trained) == 2
    aside = content(plan.output / "before_1")
    assert aside == {name: held for name, held in before.items() if name != "notes.txt"} and "rounds.json" in aside
    said = f"Beginning anew; the self-training run that was in {plan.output} is now in {plan.output / 'before_1'}."
    assert caplog.messages.count(said) == 1
    self_train(replace(other, output=plan.output.with_name("fresh")))
    fresh, anew = content(plan.output.with_name("fresh")), content(plan.output)
    for name in ("round1/labels.json", "round1/figures.json", "round1/predictions/predictions.json"):
        assert anew[name] == fresh[name]


def test_what_the_new_run_begins_with_is_not_set_aside(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    before = content(plan.output)
    inside = replace(plan, labels=str(plan.output / "round1" / "labels.json"))
    with pytest.raises(UnsegError, match=r"--restart would set .*labels\.json aside, which the run begins with"):
        self_train(inside, restart=True)
    assert content(plan.output) == before


def test_a_run_below_its_images_and_notes_beside_them_do_not_hinder_it(
    from_images: Plan, rows: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    use(FakeEngine(), monkeypatch)
    pictures = next(path for path in Path(from_images.opts[1]).rglob("images") if len(list(path.iterdir())) == 3)
    shutil.copytree(pictures, tmp_path / "photos")
    run = tmp_path / "photos" / "run"
    plan = replace(from_images, output=run, images=str(tmp_path / "photos"), ground_truth="", rounds=0)
    self_train(plan)
    (tmp_path / "photos" / "notes.txt").write_text("a note")
    shutil.copy(next(pictures.iterdir()), run / "overlay.png")
    assert [step.split()[2] for step in steps_made(replace(plan, rounds=1), caplog)] == ["predict", "merge", "train"]


def test_an_image_repaired_after_the_masks_is_made_again_before_the_training(
    from_images: Plan, rows: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pictures = next(path for path in Path(from_images.opts[1]).rglob("images") if len(list(path.iterdir())) == 3)
    shutil.copytree(pictures, tmp_path / "photos")
    broken = sorted((tmp_path / "photos").iterdir())[1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    plan = replace(from_images, output=tmp_path / "run", images=str(tmp_path / "photos"), ground_truth="", rounds=0)

    class Killed(FakeEngine):
        def train(self, cfg: Any, *, resume: bool) -> Path:
            raise KeyboardInterrupt

    use(Killed(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        self_train(plan)
    labels = tmp_path / "run" / "round0" / "masks" / "labels.json"
    assert len(json.loads(labels.read_text())["images"]) == 2
    broken.write_bytes(whole)
    use(FakeEngine(), monkeypatch)
    self_train(plan)
    assert len(json.loads(labels.read_text())["images"]) == 3


def test_a_round_that_adds_nothing_ends_the_run(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All detections have the score 0.9; the second round's threshold is above it."""
    engine = use(FakeEngine(), monkeypatch)
    strict = replace(plan, rounds=3, opts=(*plan.opts, "ROUNDS.SCORE_THRESHOLDS", "(0.5, 0.95)"))
    result = self_train(strict)
    assert "the run ends with round 1" in caplog.text
    assert result.weights.samefile(plan.output / "round1" / "model_final.pth") and len(engine.trained) == 2
    assert [(growth.name, growth.added) for growth in result.growth] == [
        ("round 0", None),
        ("round 1", 3),
        ("round 2", 0),
    ]
    assert [name for name, _ in result.rows] == ["round 0", "round 1"]
