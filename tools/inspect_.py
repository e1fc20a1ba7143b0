"""Command line: see unseg_d2/cli/inspect_.py."""

from unseg_d2.cli.common import run
from unseg_d2.cli.inspect_ import main

if __name__ == "__main__":
    run(main)
