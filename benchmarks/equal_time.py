"""A run that is sized to its time, against the quickstart's recipe in the same time: three seeds, scenes with truth.

    python benchmarks/equal_time.py [--seeds 0 1 2] [--output output/bench-equal-time]

The quickstart's run is timed, then ``self-train --features descriptors --budget`` gets as many seconds, on the same
scenes, machine and number of threads. Both are whole runs, with masks, two trainings and the page. Metrics are those of
the last detector on 48 scenes that were not used for training, class-agnostic, on masks, in percent: the mean over the
seeds and the 95 % interval of Student's t; the last row is the difference, paired by seed. Runs that have ended are
kept in --output; one that was interrupted is begun anew, since its time is not known. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

from offline_detector import interval

from unseg_d2 import self_train
from unseg_d2.files import write_json

METRICS = ("AP50", "AP", "AR100")
RECIPE, BUDGET = "quickstart's recipe", "--budget"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("output/bench-equal-time"))
    args = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {RECIPE: [], BUDGET: []}
    for seed in args.seeds:
        options = ["SEED", str(seed), "SYNTHETIC.ROOT", str(args.output.resolve() / "scenes"), "ENGINE", "builtin"]
        first = run(args.output / f"recipe-{seed}", "quickstart.yaml", options)
        budget = f"{first['seconds']:.0f}s"
        second = run(args.output / f"budget-{seed}", "", options, features="descriptors", budget=budget)
        rows[RECIPE].append(first)
        rows[BUDGET].append(second)
        print(f"seed {seed}: {first} {second}", flush=True)
    print("| run | " + " | ".join([*METRICS, "wall s"]) + " |\n|---|" + "---:|" * (len(METRICS) + 1))
    for name, found in rows.items():
        cells = [interval([row[metric] for row in found]) for metric in (*METRICS, "seconds")]
        print(f"| {name} | " + " | ".join(cells) + " |")
    pairs = list(zip(rows[RECIPE], rows[BUDGET]))
    cells = [interval([second[metric] - first[metric] for first, second in pairs]) for metric in (*METRICS, "seconds")]
    print("| difference | " + " | ".join(cells) + " |")


def run(folder: Path, recipe: str, options: list[str], **more: str) -> dict[str, float]:
    """Return the metrics and the wall time of a self-training run; those of a finished one are read.

    Args:
        folder: of the run.
        recipe: empty for none.
        options: ``KEY VALUE`` pairs.
        **more: of `unseg_d2.self_train`.
    """
    kept = folder.with_suffix(".json")
    if kept.is_file():
        return json.loads(kept.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    data = {"images": "synthetic_train", "ground_truth": "synthetic_val"}
    result = self_train(recipe, *options, output=folder, rounds=1, **data, **more)
    seconds = time.monotonic() - started
    row = {metric: result.rows[-1][1]["segm"][metric] for metric in METRICS} | {"seconds": seconds}
    write_json(kept, row)
    return row


if __name__ == "__main__":
    main()
