"""Command line: see unseg_d2/cli/prepare_data.py."""

from unseg_d2.cli.common import run
from unseg_d2.cli.prepare_data import main

if __name__ == "__main__":
    run(main)
