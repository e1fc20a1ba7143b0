"""A page on this machine on which photos can be tried: generators and their settings, a detector, scores, COCO."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unseg_d2.apps.finder import Control, Finder, Found
from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Setting, all_settings

ADDRESS = "127.0.0.1"
"""The page is for this machine alone."""
GENERATOR, DETECTOR = "a mask generator (no training)", "the detector"
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
    names = sorted(MASK_GENERATORS.names())
    chosen = str(finder.recipe.MASKS.GENERATOR).lower()
    controls = {name: finder.controls(name) for name in names}
    folder = tempfile.mkdtemp(prefix="unseg_d2-app-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with gradio.Blocks(analytics_enabled=False, title="unseg-d2", delete_cache=(3600, 3600)) as page:
        gradio.Markdown("# unseg-d2\nObjects of photos, found without a single label. Nothing leaves this machine.")
        with gradio.Row():
            with gradio.Column(scale=1):
                photos = gradio.File(label="Photos", file_count="multiple", type="filepath", elem_id="photos")
                ways = [GENERATOR, DETECTOR] if finder.detector else [GENERATOR]
                way = gradio.Radio(ways, value=ways[-1], label="Find with", elem_id="way")
                generator = gradio.Dropdown(names, value=chosen, label="Mask generator", elem_id="generator")
                groups, inputs = [], []
                for name in names:
                    with gradio.Group(visible=name == chosen) as group:
                        inputs += [_input(gradio, control) for control in controls[name]]
                    groups.append(group)
                threshold = _slider(
                    gradio, dict(all_settings())[THRESHOLD], 0.0, "lowest score that is shown", "threshold"
                )
                button = gradio.Button("Find objects", variant="primary", elem_id="find")
            with gradio.Column(scale=2):
                pictures = gradio.Gallery(
                    label="Objects", elem_id="objects", columns=2, format="png", object_fit="contain"
                )
                depths = gradio.Gallery(label="Depth (far is bright)", elem_id="depth", columns=2, visible=False)
                heads = ["photo", "object", "score", "% of the photo"]
                scores = gradio.Dataframe(headers=heads, label="Scores", elem_id="scores", interactive=False)
                coco = gradio.File(label="COCO", elem_id="coco", interactive=False)

        def show_group(name: str) -> list[Any]:
            return [gradio.update(visible=other == name) for other in names]

        keys = [control.key for name in names for control in controls[name]]
        generator.change(show_group, generator, groups, show_progress="hidden")
        asked = [photos, way, generator, threshold, *inputs]
        find = _answer(gradio, finder, keys, Path(folder))
        button.click(find, asked, [pictures, depths, scores, coco])
    return page


def _answer(gradio: Any, finder: Finder, keys: Sequence[str], folder: Path) -> Callable[..., list[Any]]:
    """Return what the button does: photos and values in, what the page shows out."""

    def find(paths: Sequence[str] | None, how: str, name: str, least: float, *values: Any) -> list[Any]:
        if not paths:
            raise gradio.Error("Choose photos first.")
        try:
            found = _find(finder, paths, how, name, least, dict(zip(keys, values, strict=True)))
        except UnsegError as error:
            raise gradio.Error(str(error)) from None
        path = Path(tempfile.mkdtemp(dir=folder)) / "objects.json"
        found.write(path, finder.detector.weights if how == DETECTOR and finder.detector else name)
        return [found.pictures, gradio.update(value=found.depths, visible=bool(found.depths)), found.rows, str(path)]

    return find


def _find(finder: Finder, paths: Sequence[str], how: str, name: str, least: float, values: dict[str, Any]) -> Found:
    if how == DETECTOR:
        return finder.with_detector(paths, least)
    return finder.with_generator(paths, name, values, least)


def _input(gradio: Any, control: Control) -> Any:
    """Return what a setting is changed with: a slider where its range has two ends and holds the value."""
    known, words = control.setting, f"{control.key.rpartition('.')[2].lower()}: {control.setting.meaning}"
    if isinstance(known.default, bool):
        return gradio.Checkbox(value=control.value, label=words)
    if known.choices:
        return gradio.Dropdown([*known.choices], value=control.value, label=words)
    if isinstance(known.default, str):
        return gradio.Textbox(value=control.value, label=words)
    low, _, step = slider_range(known)
    if step and abs((control.value - low) / step - round((control.value - low) / step)) < 1e-6:
        return _slider(gradio, known, control.value, words)
    precision = 0 if isinstance(known.default, int) else None
    return gradio.Number(value=control.value, minimum=known.low, maximum=known.high, precision=precision, label=words)


def _slider(gradio: Any, known: Setting, value: float, words: str, name: str | None = None) -> Any:
    low, high, step = slider_range(known)
    return gradio.Slider(low, high, value=value, step=step, label=words, elem_id=name)


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
