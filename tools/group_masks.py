"""Command line: see unseg_d2/cli/group_masks.py."""

from unseg_d2.cli.common import run
from unseg_d2.cli.group_masks import main

if __name__ == "__main__":
    run(main)
