"""The card of a detector on the Hugging Face hub: what it is, what it has learnt from, how good it was, its licence."""

from __future__ import annotations

from collections.abc import Sequence

from unseg_d2.description import TASKS, Description, Measured
from unseg_d2.supervision import NOT_STATED, to_info

METRICS = ("bbox/AP", "bbox/AP50", "bbox/AR100", "segm/AP", "segm/AP50", "segm/AR100")
"""Metrics that a card and ``unseg-d2 inspect`` show first; the description in the file has all."""

TAGS = ("object-detection", "instance-segmentation", "unseg_d2")

USE = """## Use

```python
import unseg_d2

detector = unseg_d2.Detector.from_pretrained("{name}")
predictions = detector(["photo.jpg"], score_threshold=0.35)
```

The recipe that rebuilds the network is in the file: `unseg-d2 inspect model.safetensors --recipe`.
"""


def card_text(about: Description, architecture: str, *, name: str, licence: str = "") -> str:
    """Return the text of a card, in Markdown without its header.

    What is not recorded is said to be so, and nothing is left to be guessed.

    Args:
        about: the description of the weights.
        architecture: of the network, as a phrase.
        name: of the folder or repository.
        licence: of the weights; empty where nobody has stated one.
    """
    what = TASKS[about.task] if about.task else "a detector"
    parts = [f"# {name}\n", f"{what[:1].upper()}{what[1:]} of [unseg_d2](https://pypi.org/project/unseg-d2): "]
    parts[-1] += f"{architecture}.\n"
    parts += [USE.format(name=name), "## Supervision\n", _supervision(about), "## Data\n", _data(about)]
    parts += ["## Figures\n", figures_table(about.measured), "## Licence\n", _licence(licence)]
    parts += ["## Training\n", _training(about)]
    return "\n".join(parts)


def figures_table(measured: Sequence[Measured]) -> str:
    """Return metrics in percent as a table in Markdown, a row per data set."""
    names = [name for name in METRICS if any(name in one.metrics for one in measured)]
    names = names or list(dict.fromkeys(name for one in measured for name in one.metrics))
    if not names:
        return "No figures were recorded in the checkpoint, nor beside it.\n"
    lines = [f"| data set | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    for one in measured:
        cells = (f"{one.metrics[name]:.1f}" if name in one.metrics else "" for name in names)
        lines.append(f"| {one.data or NOT_STATED} | {' | '.join(cells)} |")
    return "In percent, as recorded when they were measured.\n\n" + "\n".join(lines) + "\n"


def _supervision(about: Description) -> str:
    """Say what the weights have learnt from besides unlabelled images."""
    if not about.supervision:
        return f"{NOT_STATED[:1].upper()}{NOT_STATED[1:]}: it was not recorded what the weights have learnt from.\n"
    return "\n".join(f"- `{word}`: {meaning}" for word, meaning in to_info(about.supervision).items()) + "\n"


def _data(about: Description) -> str:
    if not about.data:
        return "It was not recorded what the weights were trained on.\n"
    lines = []
    for data in about.data:
        facts = [f"{data.images} images" if data.images is not None else "number of images not recorded"]
        facts += [f"{data.masks} masks"] if data.masks is not None else []
        facts += [f"self-training round {data.round}"] if data.round else []
        facts += [f"sha256 of the annotations `{data.sha256}`"] if data.sha256 else []
        lines.append(f"- `{data.name}`: {', '.join(facts)}")
    if about.features:
        lines.append(f"- its pseudo-masks were made on features of {about.features}")
    return "\n".join(lines) + "\n"


def _licence(licence: str) -> str:
    if licence:
        return f"{licence}\n"
    return (
        "Not stated by whoever saved these weights. The code of unseg_d2 is under the Apache License 2.0; weights may "
        "also be bound by the licences of the networks that they started from and of the images.\n"
    )


def _training(about: Description) -> str:
    facts = [f"{name} {version}" for name, version in about.versions.items()]
    facts += [f"engine {about.engine}"] if about.engine else []
    facts += [f"{about.iteration + 1} iterations"] if about.iteration is not None else []
    return (", ".join(facts) if facts else "Not recorded") + ".\n"
