"""A page on this machine on which photos can be tried: generators and their settings, a detector, scores, COCO."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseg_d2.apps.answers import ALL, DETECTOR, GENERATOR, Answers
from unseg_d2.apps.finder import Control, Finder, is_list
from unseg_d2.apps.found import HEADS
from unseg_d2.apps.photo_groups import MOST
from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.levels import FINEST
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Setting, all_settings
from unseg_d2.viz.palette import hex_colour

ADDRESS = "127.0.0.1"
"""The page is for this machine alone."""
THRESHOLD = "MODEL.ROI_HEADS.SCORE_THRESH_TEST"
STEPS = 100  # of a slider of real numbers
FONTS = ("system-ui", "sans-serif")  # those of the reader's machine: none is fetched
LEAST = 6  # version of Gradio: those before fetch fonts


def require_gradio() -> Any:
    """Return Gradio with its reports to others switched off.

    Raises:
        UnsegError: it is not installed, or too old; the message names the command that installs it.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError:
        raise missing_extra("gradio", "app") from None
    if int(gradio.__version__.split(".")[0]) < LEAST:
        raise UnsegError(f"gradio {gradio.__version__} is too old; install a newer one: pip install 'unseg-d2[app]'")
    return gradio


def serve(finder: Finder, *, port: int, wait: bool = True) -> Any:
    """Show the page at ``http://127.0.0.1:PORT`` until the command is interrupted.

    Args:
        finder: what the page asks.
        port: to listen on.
        wait: with ``False`` return at once; the page then lasts as long as what is returned is not closed.

    Returns:
        Gradio's page.

    Raises:
        UnsegError: Gradio is not installed, or the port is taken.
    """
    gradio = require_gradio()
    page = build_page(finder)
    look = gradio.themes.Base(font=FONTS, font_mono=("monospace",))
    try:
        page.queue(default_concurrency_limit=1).launch(
            server_name=ADDRESS,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            theme=look,
            css=_colours_of_groups(),
            footer_links=[],
        )
    except OSError:
        raise UnsegError(
            f"Port {port} cannot be listened on; another program may use it: choose another --port."
        ) from None
    if wait:
        page.block_thread()
    return page


def build_page(finder: Finder) -> Any:
    """Return the page, not yet shown.

    Args:
        finder: what the page asks.
    """
    gradio = require_gradio()
    folder = tempfile.mkdtemp(prefix="unseg_d2-app-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with gradio.Blocks(analytics_enabled=False, title="unseg-d2", delete_cache=(3600, 3600)) as page:
        gradio.Markdown("# unseg-d2\nObjects of photos, found without a single label. Nothing leaves this machine.")
        with gradio.Row():
            with gradio.Column(scale=1):
                keys, asked, button = _questions(gradio, finder)
            with gradio.Column(scale=2):
                shown = _Shown.build(gradio)
        answers = Answers(gradio, finder, keys, Path(folder))
        _connect(gradio, answers, asked, button, shown)
    return page


def _questions(gradio: Any, finder: Finder) -> tuple[list[str], list[Any], Any]:
    """Build what is chosen and typed; return the keys of the settings, all inputs in order, and the button."""
    names = sorted(MASK_GENERATORS.names())
    chosen = str(finder.recipe.MASKS.GENERATOR).lower()
    controls = {name: finder.controls(name) for name in names}
    photos = gradio.File(label="Photos", file_count="multiple", type="filepath", elem_id="photos")
    ways = [GENERATOR, DETECTOR] if finder.detector else [GENERATOR]
    way = gradio.Radio(ways, value=ways[-1], label="Find with", elem_id="way")
    generator = gradio.Dropdown(names, value=chosen, label="Mask generator", elem_id="generator")
    threshold = _slider(gradio, dict(all_settings())[THRESHOLD], 0.0, "lowest score that is shown", "threshold")
    button = gradio.Button("Find objects", variant="primary", elem_id="find")
    groups, inputs = [], []
    for name in names:
        with gradio.Group(visible=name == chosen) as group:
            inputs += [_input(gradio, control) for control in controls[name]]
        groups.append(group)

    def show_group(name: str) -> list[Any]:
        return [gradio.update(visible=other == name) for other in names]

    generator.change(show_group, generator, groups, show_progress="hidden")
    keys = [control.key for name in names for control in controls[name]]
    return keys, [photos, way, generator, threshold, *inputs], button


@dataclass(frozen=True)
class _Shown:
    """What the right side of the page shows: components of Gradio."""

    found: Any
    detail: Any
    pictures: Any
    grouping: Any
    number: Any
    group: Any
    boxes: list[Any]
    depths: Any
    scores: Any
    coco: Any

    @classmethod
    def build(cls, gradio: Any) -> _Shown:
        """Build them; what depends on the objects is hidden until there are some."""
        words = "detail: masks that lie within each other, from fine to coarse; at the right end all"
        detail = gradio.Slider(FINEST, ALL, value=ALL, step=0.05, label=words, elem_id="detail", visible=False)
        look = {"columns": 2, "object_fit": "contain"}
        pictures = gradio.Gallery(label="Objects", elem_id="objects", format="png", **look)
        with gradio.Group(visible=False, elem_id="grouping") as grouping:
            words = "number of groups of what looks alike; 0 chooses it"
            number = gradio.Slider(0, MOST, value=0, step=1, label=words, elem_id="number")
            group = gradio.Button("Group what looks alike", elem_id="group")
            with gradio.Row():
                boxes = [_name_of_group(gradio, number) for number in range(1, MOST + 1)]
        depths = gradio.Gallery(label="Depth (far is bright)", elem_id="depth", visible=False, **look)
        scores = gradio.Dataframe(headers=list(HEADS), label="Scores", elem_id="scores", interactive=False)
        coco = gradio.File(label="COCO", elem_id="coco", interactive=False)
        found = gradio.State(time_to_live=3600)
        return cls(found, detail, pictures, grouping, number, group, boxes, depths, scores, coco)


def _connect(gradio: Any, answers: Answers, asked: list[Any], button: Any, shown: _Shown) -> None:
    """Say what answers to what."""
    drawn = [shown.pictures, shown.scores]
    changed = [shown.found, *drawn, shown.coco]
    names = [shown.grouping, *shown.boxes]
    button.click(answers.find, asked, [*changed, shown.depths, shown.detail, *names])
    shown.detail.input(answers.show, [shown.found, shown.detail], drawn, trigger_mode="always_last")
    shown.group.click(answers.group, [shown.found, shown.detail, shown.number], [*changed, *names])
    events = [event for box in shown.boxes for event in (box.submit, box.blur)]
    gradio.on(events, answers.name, [shown.found, shown.detail, *shown.boxes], changed, show_progress="hidden")


def _input(gradio: Any, control: Control) -> Any:
    """Return what a setting is changed with: a slider where its range has two ends and holds the value."""
    known, words = control.setting, f"{control.key.rpartition('.')[2].lower()}: {control.setting.meaning}"
    if isinstance(known.default, bool):
        return gradio.Checkbox(value=control.value, label=words)
    if known.choices:
        return gradio.Dropdown([*known.choices], value=control.value, label=words)
    if isinstance(known.default, str):
        return gradio.Textbox(value=control.value, label=words)
    if is_list(known):
        return gradio.Textbox(value=", ".join(map(str, control.value)), label=words)
    low, _, step = slider_range(known)
    if step and abs((control.value - low) / step - round((control.value - low) / step)) < 1e-6:
        return _slider(gradio, known, control.value, words)
    precision = 0 if isinstance(known.default, int) else None
    return gradio.Number(value=control.value, minimum=known.low, maximum=known.high, precision=precision, label=words)


def _slider(gradio: Any, known: Setting, value: float, words: str, name: str | None = None) -> Any:
    low, high, step = slider_range(known)
    return gradio.Slider(low, high, value=value, step=step, label=words, elem_id=name)


def _name_of_group(gradio: Any, number: int) -> Any:
    return gradio.Textbox(
        label=f"group {number}", placeholder="name", elem_id=f"name-{number}", visible=False, min_width=180
    )


def _colours_of_groups() -> str:
    """Return the style that puts the colour of each group beside its name."""
    return "\n".join(
        f"#name-{n + 1} {{ box-shadow: inset 12px 0 {hex_colour(n)} !important; padding-left: 22px !important; }}"
        for n in range(MOST)
    )


def slider_range(known: Setting) -> tuple[float, float, float]:
    """Return the least and the greatest value of a slider, and its step, which is 0 where the range is open.

    >>> slider_range(Setting(0.5, "a share", above=0, high=1))
    (0.01, 1.0, 0.01)
    >>> slider_range(Setting(3, "a number", low=1, high=9))
    (1, 9, 1)
    >>> slider_range(Setting(3, "a number", low=1))
    (0.0, 0.0, 0.0)
    """
    least = known.low if known.above is None else known.above
    most = known.high if known.below is None else known.below
    if least is None or most is None:
        return 0.0, 0.0, 0.0
    whole = isinstance(known.default, int)
    step = 1 if whole else round((most - least) / STEPS, 9)
    low = least + step * (known.above is not None)
    high = most - step * (known.below is not None)
    return (int(low), int(high), 1) if whole else (round(float(low), 9), round(float(high), 9), step)
