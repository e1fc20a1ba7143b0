"""Commands: argument parsing only; see :mod:`unseg_d2.cli.parser` for what makes one."""
