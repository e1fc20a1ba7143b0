"""Label Studio: a file of tasks with pre-annotations, and the labelling interface that they are made for."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.data.label_studio import labeling_config, to_task
from unseg_d2.exchange.names import class_names
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import by_image, objects, size_of
from unseg_d2.files import atomic_write, write_json

MODEL = "unseg_d2"
"""Name under which Label Studio lists the pre-annotations."""


def write_label_studio(request: Request) -> Path:
    """Write ``tasks.json`` and ``labels.xml``.

    Returns:
        The file of tasks.
    """
    names = class_names(request.dataset.categories, "Label Studio")
    tasks = []
    for image, items in by_image(request.dataset):
        size_of(image)
        found, ignored = objects(items)
        request.counts.add("regions to ignore were left out, which Label Studio does not have", len(ignored))
        tasks.append(to_task(image, found, model=MODEL, prefix=request.prefix, names=names))
        if request.root is not None and request.placing != "reference":
            target = request.output / "images" / image["file_name"]
            place(request.root, image["file_name"], target, request.placing)
    with atomic_write(request.output / "labels.xml") as file:
        file.write(labeling_config(list(names.values())).encode())
    path = request.output / "tasks.json"
    write_json(path, tasks)
    return path
