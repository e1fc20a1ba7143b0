"""Settings: ranges, sections, and that the configuration is made of them and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.plugins import load_plugins
from unseg_d2.settings import (
    SECTIONS,
    Settings,
    all_settings,
    fitted,
    known_settings,
    look_up,
    nested,
    other_default,
    section,
    setting,
)

load_plugins()


@dataclass(frozen=True)
class Inner(Settings):
    depth: int = setting(3, "levels", low=1)


@dataclass(frozen=True)
class Example(Settings):
    tau: float = setting(0.2, "a threshold", symbol="tau", low=0, below=1)
    kind: str = setting("mean", "how", choices=("mean", "max"))
    sizes: list[int] = setting([1, 2], "side lengths", low=1, unit="px")
    on: bool = setting(False, "whether")
    mode: str = setting("default", "shared", key="MASKS.MODE")
    inner: Inner = nested(Inner)

    def check(self) -> None:
        if self.on and self.kind == "max":
            raise ValueError("max cannot be on")


@dataclass(frozen=True)
class Half(Example):
    tau: float = other_default(Example, "tau", 0.5)


@pytest.fixture
def registered(monkeypatch):
    """`Example` and `Inner` as sections, for one test."""
    monkeypatch.setattr("unseg_d2.settings.SECTIONS", known := dict(SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    section("EXAMPLE")(Example)
    section("EXAMPLE.INNER")(Inner)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau": 1.0}, r"tau must be a number in \[0, 1\), got 1.0"),
        ({"tau": -0.1}, "tau must be"),
        ({"tau": float("nan")}, "tau must be"),
        ({"tau": "0.2"}, "tau must be a number"),
        ({"tau": True}, "tau must be a number"),
        ({"tau": None}, "tau must be a number"),
        ({"kind": "men"}, r"kind must be one of 'mean', 'max' \(Did you mean 'mean'\?\), got 'men'"),
        ({"sizes": [1, 0]}, "sizes must be a list with entries of at least 1"),
        ({"sizes": [1.5]}, "sizes must be"),
        ({"sizes": 3}, "sizes must be a list"),
        ({"on": 1}, "on must be True or False"),
        ({"on": True, "kind": "max"}, "max cannot be on"),
        ({"mode": "other"}, None),
    ],
)
def test_values_that_are_refused(changes, message):
    if message is None:
        assert replace(Example(), **changes)  # no range is known of it here
        return
    with pytest.raises(ValueError, match=message):
        Example(**changes)


def test_values_that_are_taken():
    assert Example(tau=0).tau == 0
    assert Example(sizes=(3, 4)).sizes == (3, 4)
    assert Half().tau == 0.5 and known_settings(Half)["tau"].symbol == "tau"
    assert Example().sizes is not Example().sizes


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TAU", "1e-3", 0.001),
        ("TAU", "0", 0.0),
        ("SIZES", "(5, 6)", [5, 6]),
        ("ON", "True", True),
        ("KIND", "max", "max"),
    ],
)
def test_text_becomes_the_type_of_the_default(registered, key, text, value):
    cfg = load_cfg(None, [f"EXAMPLE.{key}", text])
    assert cfg.EXAMPLE[key] == value and type(cfg.EXAMPLE[key]) is type(value)


def test_text_stays_text_where_text_is_wanted():
    known = known_settings(SECTIONS[""])["output_dir"]
    assert fitted("2024", known) == "2024" and fitted("''", known) == ""


def test_settings_come_from_the_section_from_others_and_from_shared_keys(registered):
    cfg = load_cfg(None, ["EXAMPLE.TAU", "0.3", "EXAMPLE.INNER.DEPTH", "2", "MASKS.MODE", "parity"])
    assert "MODE" not in cfg.EXAMPLE
    assert Example.from_config(cfg) == Example(tau=0.3, mode="parity", inner=Inner(2))


def test_what_does_not_fit_together_is_one_sentence(registered):
    with pytest.raises(UnsegError, match=r"^The settings in EXAMPLE do not work: max cannot be on\.$"):
        load_cfg(None, ["EXAMPLE.KIND", "max", "EXAMPLE.ON", "True"])


def test_a_section_has_one_owner(registered):
    with pytest.raises(UnsegError, match="wants the section EXAMPLE, which belongs to"):
        section("EXAMPLE")(Inner)
    with pytest.raises(UnsegError, match=r"EXAMPLE\.TAU would hide"):
        section("EXAMPLE.TAU")(Inner)


def test_every_key_has_a_meaning_and_its_default_is_in_its_range():
    for key, known in all_settings():
        assert known.meaning and not known.meaning.endswith("."), key
        assert known.accepts(known.default), key
        assert look_up(get_cfg(), key) == known.default


def test_every_number_and_every_choice_has_a_range():
    """A key without one is a name, a path, a switch, or listed here with the reason."""
    free = {
        "SEED": "any; a negative one is drawn",
        "MODEL.PIXEL_MEAN": "any",
        "MODEL.RPN.BOUNDARY_THRESH": "negative ones keep all anchors",
        "MODEL.RPN.CONV_DIMS": "-1 is as many as come in",
        "SOLVER.CLIP_GRADIENTS.NORM_TYPE": "inf is a norm too",
        "INPUT.CROP.SIZE": "kept for published files",
        "PSEUDO.MAX_PIXELS": "kept for recipes of earlier versions",
    }
    bare = {
        key
        for key, known in all_settings()
        if not known.range() and not known.choices and isinstance(_entry(known.default), (int, float))
        if not isinstance(_entry(known.default), bool)
    }
    assert bare == free.keys()


def _entry(value):
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value


def test_keys_are_fields():
    for name, settings in SECTIONS.items():
        keys = {field.name.upper() for field in fields(settings)}
        node = look_up(get_cfg(), name)
        assert {key for key, value in node.items() if not isinstance(value, dict)} <= keys
