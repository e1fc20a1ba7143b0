"""A share of COCO's labels: see datasets/README.md and unseg_d2/data/prepare."""

import sys

from unseg_d2.cli.common import run
from unseg_d2.cli.prepare_data import main

if __name__ == "__main__":
    run(lambda: main(["coco_semi", *sys.argv[1:]]))
