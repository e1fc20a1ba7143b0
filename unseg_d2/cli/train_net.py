"""Train a detector, or evaluate one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.cli.common import add_config_arguments, positive
from unseg_d2.config import load_cfg
from unseg_d2.detectors.protocol import Engine, select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.loop.machines import Machines
from unseg_d2.training.benchmarks import check_datasets
from unseg_d2.training.evaluate import check_expected, evaluate_detector
from unseg_d2.training.table import rounds_table
from unseg_d2.training.train import train


def parser() -> argparse.ArgumentParser:
    """Return the argument parser; it follows Detectron2's ``train_net.py``."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument("--num-gpus", type=positive, default=1, help="training processes, one per GPU (or on the CPU)")
    parser.add_argument("--num-machines", type=positive, default=1, help="machines with as many processes each")
    parser.add_argument("--machine-rank", type=int, default=0, help="which of them this is, from 0; 0 evaluates")
    parser.add_argument("--dist-url", default="", metavar="tcp://HOST:PORT", help="where they meet: on machine 0")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS on DATASETS.TEST")
    parser.add_argument("--trust-checkpoint", action="store_true", help="allow pickled objects in MODEL.WEIGHTS")
    parser.add_argument("--train-dataset", help="replaces DATASETS.TRAIN: name, labels.json or labels.json::images")
    parser.add_argument("--test-dataset", help="replaces DATASETS.TEST: name, labels.json or labels.json::images")
    parser.add_argument("--no-segm", action="store_true", help="evaluate boxes only")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate as the command line says."""
    args = parser().parse_args(arguments)
    cfg = _cfg(args)
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    engine = select_engine(cfg.ENGINE)
    weights = cfg.MODEL.WEIGHTS
    if args.eval_only:
        if not weights:
            raise UnsegError("--eval-only needs the checkpoint to evaluate: append MODEL.WEIGHTS path/to/model.pth")
    else:
        check_datasets(cfg.DATASETS.TEST, cfg)  # not only when the training is over
        weights = str(train(engine, cfg, num_processes=args.num_gpus, machines=machines, resume=args.resume))
        if machines.rank > 0:
            return
    _evaluate(engine, cfg, weights, args.num_gpus)


def _cfg(args: argparse.Namespace) -> CfgNode:
    """Return the recipe with the flags filled in."""
    cfg = load_cfg(args.config_file, args.opts)
    cfg.defrost()
    cfg.MODEL.TRUST_CHECKPOINT |= args.trust_checkpoint
    cfg.TEST.NO_SEGM |= args.no_segm
    if args.train_dataset:
        cfg.DATASETS.TRAIN = (args.train_dataset,)
    if args.test_dataset:
        cfg.DATASETS.TEST = (args.test_dataset,)
    cfg.freeze()
    return cfg


def _evaluate(engine: Engine, cfg: CfgNode, weights: str, num_processes: int) -> None:
    """Evaluate on every test set, print the table and check expectations."""
    rows = []
    for index, dataset in enumerate(cfg.DATASETS.TEST):
        output = Path(cfg.OUTPUT_DIR) / "evaluation" / f"{index}_{Path(weights).stem}"
        figures = evaluate_detector(
            engine, cfg, weights=weights, dataset=dataset, output=output, num_processes=num_processes
        )
        write_json(output / "figures.json", {"dataset": dataset, "weights": weights, **figures}, indent=1)
        rows.append((Path(dataset).stem, figures))
    if rows:
        print(rounds_table(rows))
        check_expected(rows[-1][1], cfg.TEST.EXPECTED_RESULTS)
