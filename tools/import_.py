"""Command line: see unseg_d2/cli/import_.py."""

from unseg_d2.cli.common import run
from unseg_d2.cli.import_ import main

if __name__ == "__main__":
    run(main)
