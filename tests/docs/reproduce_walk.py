"""Running the pages of docs/reproduce with stand-ins: what they would run, and on small data, what comes of it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reproduce_pages import Page

from unseg_d2.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = ("unseg-d2", "curl", "pip")
_RECORD = """#!/bin/bash
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n'; } >> "$RECORD"
"""
_EXECUTE = """#!/bin/bash
exec "$@"
"""
_SBATCH = """#!/bin/bash
# Runs a job at once, the tasks of an array one after the other; prints its number, as --parsable does.
set -euo pipefail
NUMBER=$(($(cat "$JOBS" 2>/dev/null || echo 0) + 1))
echo $NUMBER > "$JOBS"
COUNT=0
while [[ "$1" == --* ]]; do
    case "$1" in
        --array=0-*) COUNT=$((${1#--array=0-} + 1)) ;;
        --export=ALL,*) export "${1#--export=ALL,}" ;;
        --dependency=afterok:*) [ "${1##*:}" -eq $((NUMBER - 1)) ] ;;
    esac
    shift
done
export SLURM_JOB_ID=$NUMBER
if [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $STEP "* ]]; then echo $NUMBER; exit; fi
if [ $COUNT -gt 0 ]; then
    export SLURM_ARRAY_TASK_COUNT=${TASKS:-$COUNT}
    for ((SLURM_ARRAY_TASK_ID = 0; SLURM_ARRAY_TASK_ID < SLURM_ARRAY_TASK_COUNT; SLURM_ARRAY_TASK_ID++)); do
        export SLURM_ARRAY_TASK_ID
        bash "$@" >&2
    done
else
    bash "$@" >&2
fi
echo $NUMBER
"""
_REAL = f"""#!/bin/bash
if [ "$1" = zoo ]; then exit 0; fi
exec {sys.executable} -c 'from unseg_d2.cli.main import main; main()' "$@"
"""


@dataclass(frozen=True)
class Call:
    """A command as a shell would run it."""

    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]

    @property
    def zoo(self) -> set[str]:
        """Entries of the zoo that it takes weights from, or fetches."""
        fetched = {self.words[3]} if self.words[1:3] == ("zoo", "get") else set()
        return fetched | {name for word in self.words for name in re.findall(r"zoo:(\w+)", word)}

    @property
    def command(self) -> str:
        """Name of the command of unseg-d2, with its task where it has several."""
        return " ".join(self.words[1:3]) if self.words[1] in ("evaluate", "prepare-data", "zoo") else self.words[1]

    def option(self, name: str) -> list[str]:
        """Values of an option; empty without it."""
        if name not in self.words:
            return []
        rest = self.words[self.words.index(name) + 1 :]
        end = next((k for k, word in enumerate(rest) if word.startswith("--") or _is_setting(word)), len(rest))
        return list(rest[:end])


def _is_setting(word: str) -> bool:
    return re.match(r"[A-Z][A-Z0-9_.]*=", word) is not None


def stand_ins(folder: Path, *, record: bool) -> Path:
    """Write the stand-ins of the programs that pages and job files call; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {"srun": _EXECUTE, "sbatch": _SBATCH, "curl": _RECORD, "pip": _RECORD}
    programs["unseg-d2"] = _RECORD if record else _REAL
    for name, code in programs.items():
        (folder / name).write_text(code)
        (folder / name).chmod(0o755)
    return folder


def with_settings(page: Page, values: Mapping[str, str]) -> str:
    """Return the page's first block with other values; one that the page does not have is left out."""
    lines = []
    for line in page.settings.splitlines():
        name = line.partition("=")[0].removeprefix("export ")
        lines.append(f"{line.partition('=')[0]}={shlex.quote(values[name])}" if name in values else line)
    return "\n".join(lines)


def recorded(page: Page, folder: Path, values: Mapping[str, str]) -> list[Call]:
    """Return what a page runs, in order, with given values of its variables."""
    script = "\n".join(["set -euo pipefail", with_settings(page, values), *(block.code for block in page.blocks)])
    return run_recording(["bash", "-c", script], folder)


def run_recording(command: list[str], folder: Path, **environment: str) -> list[Call]:
    """Run a shell with stand-ins that record; return their calls."""
    programs, record = stand_ins(folder / "programs", record=True), folder / "record"
    record.unlink(missing_ok=True)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {"RECORD": str(record), "JOBS": str(folder / "jobs"), "PATH": path, **environment}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    entries = record.read_text().split("\0\n")[:-1]
    return [Call(tuple(entry.split("\0"))) for entry in entries]


def execute(call: Call) -> None:
    """Run a command of unseg-d2 in this process."""
    words = list(call.words[1:])
    main.execute(main.parser(words).parse_args(words))
