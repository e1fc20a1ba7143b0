"""What `make docs` would refuse, seen without MkDocs: pages that the navigation lacks, links that lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "model_zoo/README.md", "datasets/README.md"]
LINK = re.compile(r"\]\(([^():#\s]+)(?:#[^()\s]*)?\)")


def leaves(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [leaf for part in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(part)]


def test_the_navigation_has_every_page():
    navigation = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert {page.relative_to(ROOT / "docs").as_posix() for page in DOCS} <= set(navigation)
    assert len(navigation) == len(set(navigation))


@pytest.mark.parametrize("page", [*DOCS, *(ROOT / name for name in OTHERS)], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
