"""Command line: see unseg_d2/cli/app.py."""

from unseg_d2.cli.app import main
from unseg_d2.cli.common import run

if __name__ == "__main__":
    run(main)
