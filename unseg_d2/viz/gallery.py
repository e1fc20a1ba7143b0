"""A label set or prediction file as a web page that opens from disk: no server, no network, thousands of images."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_folder, explained
from unseg_d2.viz.curves import Lines, plot_curves
from unseg_d2.viz.decisions import KIND, VERSION, fingerprint
from unseg_d2.viz.entries import Entry, broken_entry, make_entry
from unseg_d2.viz.labels import (
    ClassesApart,
    LabelView,
    Totals,
    annotations_by_name,
    classes_apart,
    evenly_spaced,
    read_labelled_image,
)
from unseg_d2.viz.page import environment, script_hash, script_json, source, write_text
from unseg_d2.viz.palette import NUM_COLOURS, hex_colour
from unseg_d2.viz.plots import plot_rounds
from unseg_d2.viz.thumbnails import UNITS

CHUNK_SIZE = 48
"""Images per chunk, the number of pictures that the page loads at once."""


@dataclass
class GallerySummary:
    """What was written.

    Attributes:
        page: the file to open.
        images: number of images in it, those that cannot be shown included.
        problems: file name and reason of each image that cannot be shown.
        size: bytes of the page and its chunks.
        overlays: folder of the images with their masks at full size, where they were asked for.
    """

    page: Path
    images: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    overlays: Path | None = None


def write_gallery(
    page: Path,
    labels: LabelView,
    image_root: str | Path,
    *,
    compare: LabelView | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    trainings: Sequence[tuple[str, Lines]] = (),
    one_file: bool = True,
    limit: int = 0,
    side: int = 256,
    quality: int = 75,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> GallerySummary:
    """Write the gallery of a label set.

    Args:
        page: html file to write.
        labels: the label set.
        image_root: folder that its file names are relative to.
        compare: a second label set, such as ground truth, shown beside it; matched by file name.
        metrics: of the rounds that led here, plotted at the top; see `unseg_d2.viz.plots.plot_rounds`.
        trainings: that led here, whose curves follow; see `unseg_d2.viz.curves.plot_curves`.
        one_file: put everything into the page; otherwise pictures go to ``<page stem>_chunks`` beside it.
        limit: most images to show, evenly spaced over the set; 0 shows all.
        side: longest side of a thumbnail in pixels.
        quality: of the thumbnails' JPEG, 1 to 100.
        progress: wraps the list of images, to show how far the work is.

    Raises:
        UnsegError: if the set has no images, none of them can be read, or the page cannot be written.
    """
    if not labels.dataset.images:
        raise UnsegError(f"{labels.title} lists no images, so there is nothing to show.")
    page = Path(page)
    shown = evenly_spaced(labels.dataset.images, limit)
    summary = GallerySummary(page, len(shown))
    index: list[dict[str, Any]] = []
    classes = classes_apart([labels] if compare is None else [labels, compare])
    entries = _entries(labels, compare, shown, Path(image_root), side, quality, progress, classes)
    chunks = _chunks(entries, index, summary)
    values = {
        "labels": labels,
        "compare": compare,
        "facts": _facts(labels.totals, len(shown)),
        "plot": Markup(plot_rounds(metrics)) if metrics else "",
        "curves": Markup(plot_curves(trainings)),
        "settings": list(flatten(labels.dataset.info)),
        "style": source("gallery.css"),
        "scripts": [source(f"gallery{part}.js") for part in ("_model", "_decisions", "", "_deciding")],
        "script_hash": script_hash,
        "index": lambda: _index_json(index, labels, compare, page, Path(image_root), one_file, list(classes.names)),
    }
    if one_file:
        write_text(page, environment().get_template("gallery.html.j2").generate(chunks=chunks, **values))
    else:
        summary.size = _write_chunks(_chunk_folder(page), chunks)
        write_text(page, environment().get_template("gallery.html.j2").generate(chunks=(), **values))
    summary.size += page.stat().st_size
    return summary


def flatten(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Turn nested settings into rows of dotted key and text.

    >>> list(flatten({"MASKS": {"MASKCUT": {"TAU": 0.15}}, "made": "today"}))
    [('MASKS.MASKCUT.TAU', '0.15'), ('made', 'today')]
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flatten(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _entries(
    labels: LabelView,
    compare: LabelView | None,
    shown: Sequence[dict[str, Any]],
    root: Path,
    side: int,
    quality: int,
    progress: Callable[[Sequence[Any]], Iterable[Any]],
    classes: ClassesApart,
) -> Iterator[Entry]:
    """Make the entries one by one; what cannot be shown becomes an entry that says why."""
    by_name = [annotations_by_name(view.dataset) for view in (labels, compare) if view is not None]
    for image in progress(shown):
        name = image["file_name"]
        try:
            pixels = read_labelled_image(root, image, labels.reading)
            sets = [names.get(name, []) for names in by_name]
            yield make_entry(name, pixels, sets, side=side, quality=quality, classes=classes.numbers)
        except UnsegError as error:
            yield broken_entry(name, str(error), len(by_name))


def _chunks(entries: Iterator[Entry], index: list[dict[str, Any]], summary: GallerySummary) -> Iterator[Markup]:
    """Yield the pictures in chunks, as JSON, and collect the index on the way."""
    while chunk := list(itertools.islice(entries, CHUNK_SIZE)):
        index += [entry.index for entry in chunk]
        summary.problems += [(e.index["name"], e.index["problem"]) for e in chunk if "problem" in e.index]
        yield script_json([entry.picture for entry in chunk])
    if len(summary.problems) == summary.images:
        name, problem = summary.problems[0]
        raise UnsegError(f"None of the {summary.images} images can be shown; the first is {name} ({problem}).")


def _chunk_folder(page: Path) -> Path:
    return page.with_name(f"{page.stem}_chunks")


def _write_chunks(folder: Path, chunks: Iterator[Markup]) -> int:
    """Write the chunks as scripts into a folder that appears when it is complete; return their size in bytes."""
    size = 0
    try:
        with atomic_folder(folder, replace=True) as passing:
            for number, chunk in enumerate(chunks):
                size += (passing / f"{number}.js").write_text(f"receiveChunk({number},{chunk})", encoding="utf-8")
    except OSError as error:
        raise explained(error, folder) from error
    return size


def _facts(totals: Totals, shown: int) -> list[str]:
    """Short statements for the head of the page."""
    images, instances, empty = totals
    facts = [f"{shown:,} of {images:,} images" if shown < images else f"{images:,} images"]
    facts += [f"{instances:,} instances", f"{instances / images:.1f} per image"]
    return facts + ([f"{empty:,} image{'s' * (empty != 1)} without any"] if empty else [])


def _index_json(
    index: list[dict[str, Any]],
    labels: LabelView,
    compare: LabelView | None,
    page: Path,
    root: Path,
    one_file: bool,
    classes: list[str],
) -> Markup:
    """Everything that the page's script needs besides the pictures."""
    return script_json(
        {
            "titles": [view.title for view in (labels, compare) if view is not None],
            "classes": classes,
            "images": index,
            "chunkSize": CHUNK_SIZE,
            "chunkFolder": "" if one_file else quote(_chunk_folder(page).name),
            "originals": quote(Path(os.path.relpath(root.absolute(), page.absolute().parent)).as_posix()),
            "units": UNITS,
            "decisions": {"kind": KIND, "version": VERSION, "fingerprint": fingerprint(index)},
            "colours": [hex_colour(i) for i in range(NUM_COLOURS)],
        }
    )
