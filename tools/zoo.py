"""Command line: see unseg_d2/cli/zoo.py."""

from unseg_d2.cli.common import run
from unseg_d2.cli.zoo import main

if __name__ == "__main__":
    run(main)
