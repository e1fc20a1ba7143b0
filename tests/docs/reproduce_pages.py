"""The pages of docs/reproduce: reading their commands, filling in published figures, and making their job files.

    python tests/docs/reproduce_pages.py   writes the figures into the pages and NAME.sbatch beside each

A page is Markdown. Its first bash block sets variables, the others are its commands. A line before a block says what it
needs of a cluster: ``<!-- job: NAME; array 200; 8 GPUs; 24 h -->``. What stands between
``<!-- figures: source=KEY where="Table 1" -->`` and ``<!-- end of figures -->`` is a table of the registry of published
figures.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from unseg_d2.published.figures import CERTAINTIES, PublishedRow, published_rows

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reproduce"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
BLOCK = re.compile(r"(?:^<!-- job: (?P<job>[^>]+) -->\n)?^```bash\n(?P<code>.*?)^```$", re.M | re.S)
JOB = re.compile(r"(?P<name>\w+)(?:; array (?P<array>\d+))?; (?P<gpus>\d+) GPUs?; (?P<hours>\d+) h")
CONTINUES = re.compile(r"^Continues: \[[^]]+\]\((?P<page>\w+)\.md\)$", re.M)
FIGURES = re.compile(r"(?P<head><!-- figures: (?P<query>[^>]+) -->\n).*?(?=<!-- end of figures -->)", re.S)
KINDS = {"bbox": ", boxes", "segm": ", masks", "": ""}
PER_GPU = 8  # processor cores


@dataclass(frozen=True)
class Job:
    """What a block needs of a cluster: shares of an array (0: none), GPUs of one machine and hours."""

    name: str
    array: int
    gpus: int
    hours: int


@dataclass(frozen=True)
class Block:
    """Commands, and the job that runs them; ``None`` for what is done before, where there is a network."""

    code: str
    job: Job | None


@dataclass(frozen=True)
class Page:
    """A page: its variables, its commands in order, and the page that has to be done before."""

    name: str
    title: str
    settings: str
    blocks: list[Block]
    continues: str

    @property
    def variables(self) -> list[str]:
        return re.findall(r"^(?:export )?(\w+)=", self.settings, re.M)


def read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    settings, *blocks = (Block(found["code"], _job(found["job"])) for found in BLOCK.finditer(text))
    before = CONTINUES.search(text)
    return Page(path.stem, text.partition("\n")[0][2:], settings.code, blocks, before["page"] if before else "")


def _job(text: str | None) -> Job | None:
    if text is None:
        return None
    found = JOB.fullmatch(text)
    assert found, f"'{text}' does not say what a job needs"
    return Job(found["name"], int(found["array"] or 0), int(found["gpus"]), int(found["hours"]))


def job_file(page: Page) -> str:
    """Return a script that submits the steps of a page to Slurm, each after the one before, and that each step runs."""
    jobs = [block.job for block in page.blocks if block.job]
    steps = "\n".join(f"step_{block.job.name}() {{\n{_indented(block.code)}}}\n" for block in page.blocks if block.job)
    submit = "\n".join(
        f"    submit {job.name} {_gpus(job)} --time={job.hours}:00:00"
        + (f" --array=0-{job.array - 1}" if job.array else "")
        for job in jobs
    )
    after = f"\n# {page.continues}.sbatch comes before: AFTER=JOB waits for its last job." if page.continues else ""
    return _SCRIPT.format(
        title=page.title, name=page.name, after=after, settings=page.settings, steps=steps, submit=submit
    )


def _gpus(job: Job) -> str:
    """Return the GPUs and cores of a job; one with several takes the page's number."""
    if job.gpus == 1:
        return f"--gres=gpu:1 --cpus-per-task={PER_GPU}"
    return f"--gres=gpu:$GPUS --cpus-per-task=$(({PER_GPU} * GPUS))"


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


_SCRIPT = """#!/bin/bash
# {title}: the steps of {name}.md as jobs of Slurm.
#     bash {name}.sbatch        submits all of them; each starts when the one before has succeeded
#     bash {name}.sbatch STEP   submits from one step on
# First do what the page says under Data, where there is a network. A step that is killed, or that reaches its time
# limit, is queued again and resumes where it stopped. SBATCH_PARTITION and SBATCH_ACCOUNT choose partition and
# account.{after}
# Made from the page by tests/docs/reproduce_pages.py: change the page.
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:USR1@300
set -euo pipefail

{settings}
# Each task of an array makes its share of the masks.
unseg-d2() {{
    if [ "$1" = generate-masks ] && [ -n "${{SLURM_ARRAY_TASK_ID:-}}" ]; then
        set -- "$@" --shard-index "$SLURM_ARRAY_TASK_ID" --num-shards "$SLURM_ARRAY_TASK_COUNT"
    fi
    srun unseg-d2 "$@"
}}

{steps}
submit() {{
    if [ "$1" = "$FIRST" ]; then STARTED=yes; fi
    if [ -z "$STARTED" ]; then return; fi
    AFTER=$(sbatch --parsable ${{AFTER:+--dependency=afterok:$AFTER --kill-on-invalid-dep=yes}} \\
        --job-name="{name}-$1" "${{@:2}}" --export="ALL,STEP=$1" "$0")
    echo "$1: job $AFTER"
}}

if [ -z "${{STEP:-}}" ]; then
    AFTER=${{AFTER:-}} FIRST=${{1:-}} STARTED=
    if [ -z "$FIRST" ]; then STARTED=yes; fi
{submit}
    if [ -z "$STARTED" ]; then echo "There is no step $FIRST." >&2; exit 2; fi
else
    export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}}  # which srun no longer takes from the job
    trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
    "step_$STEP" &
    wait $!
fi
"""


def with_figures(text: str) -> str:
    """Return a page whose tables of figures are those of the registry."""
    return FIGURES.sub(lambda found: found["head"] + figures_table(found["query"]), text)


def figures_table(query: str) -> str:
    """Return the table of a marker, with its source below."""
    rows = _rows(query)
    places = list(dict.fromkeys(_place(row) for row in rows))
    names = list(dict.fromkeys(_name(row, rows) for row in rows))
    cells = {(_name(row, rows), _place(row)): row for row in rows}
    assert len(cells) == len(rows), f"{query} has a row twice"
    metrics = {place: list(dict.fromkeys(m for r in rows if _place(r) == place for m in r.figures)) for place in places}
    heads = {place: f"{place}: {' / '.join(metrics[place])}" for place in places}
    if len(places) > len(names):
        lines = [["", *names]]
        lines += [[heads[place], *(_cell(cells.get((n, place)), metrics[place]) for n in names)] for place in places]
    else:
        lines = [["", *heads.values()]]
        lines += [[name, *(_cell(cells.get((name, p)), metrics[p]) for p in places)] for name in names]
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    cited = ", ".join(dict.fromkeys(part for row in rows for part in (row.source.title, row.where) if part))
    how = "; ".join(dict.fromkeys(CERTAINTIES[row.certainty] for row in rows))
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in dict.fromkeys(row.note for row in rows) if note)
    return f"{table}\n\n[{cited}]({rows[0].source.url}): {how}.{notes}\n"


def _rows(query: str) -> list[PublishedRow]:
    wanted = dict(part.split("=", 1) for part in shlex.split(query))
    where, kind = wanted.pop("where", None), wanted.pop("kind", None)
    rows = published_rows(**wanted, ablations=True)
    rows = [row for row in rows if kind in (None, row.kind)]
    # "Table 5" names its parts too, "Table 5a" to "Table 5d"
    rows = [row for row in rows if where is None or re.fullmatch(re.escape(where) + "[a-z]?", row.where)]
    assert rows, f"nothing is published under {query}"
    return rows


def _place(row: PublishedRow) -> str:
    return row.benchmark.title + KINDS[row.kind]


def _name(row: PublishedRow, rows: list[PublishedRow]) -> str:
    """Return the system and its variant, with its network where two systems have one name."""
    part = re.fullmatch(r"Table \d+([a-z])", row.where)
    name = f"({part[1]}) {row.name}" if part else row.name
    if len({other.system.key for other in rows if other.system.name == row.system.name}) > 1:
        return f"{name}, {row.system.network}"
    return name


def _cell(row: PublishedRow | None, metrics: list[str]) -> str:
    if row is None:
        return "–"
    return " / ".join(f"{row.figures[metric]:.1f}" if metric in row.figures else "–" for metric in metrics)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_figures(path.read_text(encoding="utf-8")), encoding="utf-8")
        path.with_suffix(".sbatch").write_text(job_file(read_page(path)), encoding="utf-8")
