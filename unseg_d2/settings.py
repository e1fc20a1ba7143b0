"""Settings: one frozen dataclass per section of the configuration, whose fields carry default, meaning and range.

The dataclass is the one place of each fact. The configuration and its checks, ``unseg-d2 config`` and docs/config.md
are made from it, and the function that does the work takes it as its argument:

    @section("MASKS.MASKCUT")
    @dataclass(frozen=True)
    class MaskCutSettings(Settings):
        tau: float = setting(0.15, "cosine above which two patches are connected", symbol="tau^ncut", low=0, below=1)

is the key ``MASKS.MASKCUT.TAU``. ``MaskCutSettings(tau=2)`` raises ``ValueError``, and so does a recipe.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from unseg_d2.errors import UnsegError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self

SECTIONS: dict[str, type[Settings]] = {}
"""Section of the configuration to its dataclass; the top level is ``""``."""


@dataclass(frozen=True)
class Setting:
    """What is known about a setting besides its name and type.

    Attributes:
        default: value where a recipe does not set one.
        meaning: one line, without a full stop.
        symbol: the paper's symbol.
        unit: of the value.
        low, high: smallest and largest accepted value; for a list, of its entries.
        above, below: bounds that a value must not reach.
        choices: the accepted values, where they can be listed.
        builtin: the values that the built-in engine supports, where Detectron2 supports more.
        key: another section's key that the value is taken from; the setting is then not a key of its own section.
        no_effect: why no value has an effect, where the key is there only so that published recipes load; a recipe that
            sets it is told so.
        harmless: values besides the default that say what is done in any case, so that nobody has to be told.
    """

    default: Any
    meaning: str
    symbol: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] = ()
    builtin: tuple[Any, ...] = ()
    key: str = ""
    no_effect: str = ""
    harmless: tuple[Any, ...] = ()

    def is_ignored(self, value: Any) -> bool:
        """Whether a value asks for something that no code does."""
        return bool(self.no_effect) and value != self.default and value not in self.harmless

    def accepts(self, value: Any) -> bool:
        """Whether a value has the type of the default and lies in the range."""
        if not same_type(value, self.default):
            return False
        if self.choices:
            return _tuples(value) in map(_tuples, self.choices)
        return all(self._in_range(number) for number in _numbers(value))

    def expected(self, value: Any = None) -> str:
        """Return what a value must be, as words that follow "must be"; with the choice that a wrong one is close to."""
        if self.choices:
            names = [repr(choice) if isinstance(choice, (str, list, tuple)) else str(choice) for choice in self.choices]
            hint = nearest(value, [choice for choice in self.choices if choice]) if isinstance(value, str) else ""
            return (names[0] if len(names) == 1 else f"one of {', '.join(names)}") + (
                f" ({hint.strip()})" if hint else ""
            )
        kind = _KINDS.get(type(self.default), "a value")
        limits = self.range()
        if isinstance(self.default, (list, tuple)) and limits:
            return f"{kind} with entries {limits}"
        return f"{kind} {limits}".strip()

    def range(self) -> str:
        """Return the range in words: ``in [0, 1)``, ``of at least 1``; empty where there is none."""
        least = self.low if self.above is None else self.above
        most = self.high if self.below is None else self.below
        if least is not None and most is not None:
            return f"in {'[('[self.above is not None]}{least:g}, {most:g}{'])'[self.below is not None]}"
        if least is not None:
            return f"of at least {least:g}" if self.above is None else f"above {least:g}"
        if most is not None:
            return f"of at most {most:g}" if self.below is None else f"below {most:g}"
        return ""

    def _in_range(self, number: float) -> bool:
        if isinstance(number, int) and not -(2**63) <= number < 2**63:  # fits into no tensor, nor into a float
            return False
        return (
            (math.isfinite(number) or (not self.range() and not math.isnan(number)))
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )


_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list", tuple: "a list"}


def setting(default: Any, meaning: str, **facts: Any) -> Any:
    """Return a dataclass field that carries its default, its meaning and, as ``facts``, the rest of :class:`Setting`.

    Args:
        default: value where a recipe does not set one; a list is copied for each object.
        meaning: one line, without a full stop.
        **facts: ``symbol``, ``unit``, ``low``, ``high``, ``above``, ``below``, ``choices``, ``builtin``, ``key``,
            ``no_effect``, ``harmless``.
    """
    return _field(Setting(default, meaning, **facts))


def nested(settings: type[Settings]) -> Any:
    """Return a dataclass field that holds the settings of another section, with its defaults."""
    return dataclasses.field(default_factory=settings)


def other_default(settings: type[Settings], name: str, default: Any) -> Any:
    """Return a field that other settings have, with another default."""
    return _field(dataclasses.replace(known_settings(settings)[name], default=default))


def _field(known: Setting) -> Any:
    metadata = {"setting": known}
    if isinstance(known.default, list):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(known.default), metadata=metadata)
    return dataclasses.field(default=known.default, metadata=metadata)


class Settings:
    """Base of the dataclasses; its fields are made by :func:`setting` and :func:`nested`.

    Raises:
        ValueError: a value has another type than the default or is out of range, or two values contradict each other.
    """

    if TYPE_CHECKING:  # what makes a dataclass of each class below
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        for name, known in known_settings(type(self)).items():
            value = getattr(self, name)
            if not known.accepts(value):
                raise ValueError(f"{name} must be {known.expected(value)}, got {value!r}")
        self.check()

    def check(self) -> None:
        """Raise ValueError where settings that are valid by themselves contradict each other."""

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any], name: str | None = None) -> Self:
        """Return the settings that a configuration states.

        Args:
            cfg: whole configuration.
            name: section to read; by default the one that the class is registered for.

        Raises:
            UnsegError: the configuration has no such section, a value is out of range, or two contradict each other.
        """
        where = section_of(cls) if name is None else name
        node = look_up(cfg, where)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            known = field.metadata.get("setting")
            if known is None:
                part: Any = field.default_factory  # the class that nested() was given
                values[field.name] = part.from_config(cfg)
            elif known.key:
                values[field.name] = look_up(cfg, known.key)
            else:
                values[field.name] = node[field.name.upper()]
        try:
            return cls(**values)
        except ValueError as error:
            raise UnsegError(f"The settings in {where or 'the recipe'} do not work: {error}.") from None


AnySettings = TypeVar("AnySettings", bound=type[Settings])


def section(name: str) -> Callable[[AnySettings], AnySettings]:
    """Return a class decorator that makes a dataclass of settings a section of the configuration.

    Args:
        name: ``MASKS.MASKCUT``; ``""`` is the top level. Each field is a key of that section, in capitals.

    Raises:
        UnsegError: other settings have taken the name, as a section or as a key.
    """

    def register(settings: AnySettings) -> AnySettings:
        taken = SECTIONS.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (settings.__module__, settings.__qualname__):
            raise UnsegError(
                f"{settings.__module__}.{settings.__qualname__} wants the section {name or 'of the top level'}, which "
                f"belongs to {taken.__module__}.{taken.__qualname__}; choose another name."
            )
        parent, _, last = name.rpartition(".")
        if last and parent in SECTIONS and last.lower() in own_settings(SECTIONS[parent]):
            raise UnsegError(f"The section {name} would hide the key of that name; choose another name.")
        SECTIONS[name] = settings
        return settings

    return register


def section_of(settings: type[Settings]) -> str:
    """Return the section that a dataclass of settings is registered for.

    Raises:
        UnsegError: it is not registered for any.
    """
    for name, known in SECTIONS.items():
        if known is settings:
            return name
    raise UnsegError(f"{settings.__qualname__} is not a section of the configuration; decorate it with @section(NAME).")


def known_settings(settings: type[Settings]) -> dict[str, Setting]:
    """Return what is known about each field, including those that take their value from another section."""
    fields = dataclasses.fields(settings)
    return {field.name: field.metadata["setting"] for field in fields if "setting" in field.metadata}


def own_settings(settings: type[Settings]) -> dict[str, Setting]:
    """Return what is known about each field that is a key of the section."""
    return {name: known for name, known in known_settings(settings).items() if not known.key}


def all_settings() -> Iterator[tuple[str, Setting]]:
    """Yield each key of the configuration and what is known about it: the top level first, then each section."""
    for name in sorted(SECTIONS):
        for field, known in own_settings(SECTIONS[name]).items():
            yield f"{name}.{field.upper()}".removeprefix("."), known


def defaults_below(prefix: str) -> dict[str, Any]:
    """Return the default of each key, under a prefix and a dot: what a run has that began before there was the key."""
    return {f"{prefix}.{key}": known.default for key, known in all_settings()}


def look_up(cfg: Mapping[str, Any], key: str) -> Any:
    """Return the value or the section of a dotted key; the configuration itself for ``""``.

    Raises:
        UnsegError: there is none.
    """
    node: Any = cfg
    for part in key.split(".") if key else ():
        if not isinstance(node, Mapping) or part not in node:
            raise UnsegError(f"The configuration has no {key}.")
        node = node[part]
    return node


def same_type(value: Any, default: Any) -> bool:
    """Whether a value can take the place of a default: whole numbers are numbers, lists and tuples are alike.

    Entries of a list must have the type of the default's first entry; an empty default accepts any.
    """
    if default is None or value is None:
        return default is None
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple)) and all(same_type(entry, default[0]) for entry in value if default)
    return isinstance(value, type(default))


def fitted(value: Any, known: Setting) -> Any:
    """Return a value of a recipe in the type of the default; text is a Python literal where it can be one.

    Raises:
        ValueError: the type is wrong or the value out of range; the message says what it must be.
    """
    decoded = _literal(value) if isinstance(value, str) else value
    if isinstance(known.default, str) and isinstance(value, str) and not isinstance(decoded, str):
        decoded = value  # a folder named 2024
    if not known.accepts(decoded):
        raise ValueError(f"{decoded!r}, but must be {known.expected(decoded)}")
    if isinstance(known.default, float) and decoded is not None:
        return float(decoded)
    return _in_type_of(known.default, decoded)


def _in_type_of(default: Any, value: Any) -> Any:
    """Return lists as tuples and tuples as lists where the default has them, however deep."""
    if not isinstance(default, (list, tuple)):
        return value
    return type(default)(_in_type_of(default[0], entry) if default else entry for entry in value)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in a value, however deep in lists."""
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def _tuples(value: Any) -> Any:
    """Return a value with its lists as tuples, so that both compare equal."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
