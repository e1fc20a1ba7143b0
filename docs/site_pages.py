"""Hook of MkDocs: pages that stand outside docs/, the reference, links that hold in the repository too."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "model_zoo/README.md": "model_zoo.md",
    "datasets/README.md": "datasets.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "tests/data/golden/README.md": "golden.md",
}
"""Files of the repository that are pages of the site."""

REFERENCE = ["structures", "features", "depth", "graph", "masks", "refine", "pseudo", "tracks", "losses"]
REFERENCE += ["saliency", "semantic", "evaluation"]
"""Rooms whose docstrings are pages of the site."""

INTERNAL = """Read off the source. What stays from one version to the next is the [Python interface](../api.md); these
names may change, so pin the version that you import them from."""

LINK = re.compile(r"\[(?P<text>[^\[\]]+)\]\((?P<path>[^():#\s]+)(?P<anchor>#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/, and those of the rooms."""
    for source, page in PAGES.items():
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relink(text, source)))
    for room in REFERENCE:
        files.append(File.generated(config, f"reference/{room}.md", content=reference(room)))
    return files


def reference(room: str) -> str:
    """Return the page of a room, whose modules mkdocstrings fills in."""
    folder = REPOSITORY / "unseg_d2" / room
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    parts = [path.relative_to(REPOSITORY).with_suffix("").parts for path in paths if path.name != "__init__.py"]
    return f"# {room}\n\n{INTERNAL}\n\n" + "\n\n".join(f"::: {'.'.join(part)}" for part in parts)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Adjust the links of a page that stands in docs/."""
    return markdown if page.file.generated_by else relink(markdown, f"docs/{page.file.src_uri}")


def relink(markdown: str, source: str) -> str:
    """Point links to the pages of the site; other files of the repository are named instead of linked.

    Args:
        markdown: text of a page.
        source: its path in the repository, which its relative links start from.

    Raises:
        PluginError: a link leads nowhere.
    """

    here = posixpath.dirname(PAGES.get(source, source.removeprefix("docs/")))

    def replace(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        if not (REPOSITORY / target).exists():
            raise PluginError(f"{source} links to {link['path']}, which does not exist.")
        page = PAGES.get(target) or (target.startswith("docs/") and target.removeprefix("docs/"))
        if page:  # or a file beside the pages, which the site has too
            return f"[{link['text']}]({posixpath.relpath(page, here or '.')}{link['anchor'] or ''})"
        return link["text"] if target in link["text"] else f"{link['text']} (`{target}`)"

    return LINK.sub(replace, markdown)
