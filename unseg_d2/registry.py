"""Registries: the parts of one kind by name, and how the one that a configuration asks for is made.

A part from outside registers itself in the same way as the parts of this package, settings included:

    @MASK_GENERATORS.register("islands", settings=IslandsSettings)
    class Islands: ...

Its settings become the section ``MASKS.ISLANDS``, and ``MASKS.GENERATOR islands`` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.manifest import CODE
from unseg_d2.plugin_code import code_of
from unseg_d2.plugins import load_plugins, module_name
from unseg_d2.settings import Settings, all_settings, look_up, section

Part = TypeVar("Part")
Made = TypeVar("Made", bound=Callable[..., Any])


REGISTRIES: dict[str, Registry[Any]] = {}
"""The registry behind each key that names a part."""


@dataclass(frozen=True)
class Entry(Generic[Part]):
    """A registered part.

    Attributes:
        make: class or function; called with its settings, or with nothing where it has none. One with an attribute
            ``from_config`` is made by ``from_config(cfg)`` instead, because it reads more than its own section.
        settings: dataclass of its section of the configuration, or ``None``.
        section: name of that section.
        sets: keys outside of that section to the values that the part works with; naming the part sets them.
        fits: keys of other parts to values that were chosen with this one, such as thresholds for a kind of features;
            they take the place of the default where a recipe states none.
        reads: sections of other parts that it reads besides its own.
        ignores: keys for parts of its kind that it has no use for.
        uses: key of its settings that names another part of its kind, which it works with; empty for none.
    """

    make: Callable[..., Part]
    settings: type[Settings] | None
    section: str
    sets: Mapping[str, Any] = field(default_factory=dict)
    fits: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    uses: str = ""

    def build(self, cfg: Any) -> Part:
        """Return the part that a configuration describes."""
        if hasattr(self.make, "from_config"):
            part: Part = self.make.from_config(cfg)
            return part
        return self.make() if self.settings is None else self.make(self.settings.from_config(cfg, self.section))


class Registry(Generic[Part]):
    """Parts of one kind.

    Args:
        key: of the configuration that names the part: ``MASKS.GENERATOR``.
        parent: section that holds the sections of the parts: ``MASKS``.
        by_name_only: whether a part is used only where the key names it, so that settings of another one are a mistake.
    """

    def __init__(self, key: str, parent: str, *, by_name_only: bool = False) -> None:
        self.key, self.parent, self.by_name_only = key, parent, by_name_only
        self._entries: dict[str, Entry[Part]] = {}
        REGISTRIES.setdefault(key, self)

    def register(
        self,
        name: str | None = None,
        *,
        settings: type[Settings] | None = None,
        sets: Mapping[str, Any] | None = None,
        fits: Mapping[str, Any] | None = None,
        reads: tuple[str, ...] = (),
        ignores: tuple[str, ...] = (),
        uses: str = "",
    ) -> Callable[[Made], Made]:
        """Return a decorator that registers a class or a function that makes a part.

        Args:
            name: value of the key, in lower case; by default the name of the class or function.
            settings: dataclass of its settings, which becomes the section ``PARENT.NAME``.
            sets: keys of other sections that naming the part sets, to their values, see :func:`set_by_names`.
            fits: keys of other parts whose default is another one with this part, see :func:`fit_to_names`.
            reads: sections of other parts that ``from_config`` reads.
            ignores: keys beside the section, such as those of weights, that have no effect on the part.
            uses: key of the section that names another part of this kind, whose settings then have an effect too.

        Raises:
            UnsegError: the name is taken.
        """

        def add(make: Made) -> Made:
            own = (name or make.__name__).lower()
            before = self._entries.get(own)
            if before is not None and _origin(before.make) != _origin(make):
                raise UnsegError(f"{self.key} {own} is already {_origin(before.make)}; choose another name.")
            where = f"{self.parent}.{own.upper()}"
            if settings is not None:
                section(where)(settings)
            self._entries[own] = Entry(make, settings, where, dict(sets or {}), dict(fits or {}), reads, ignores, uses)
            return make

        return add

    def names(self) -> list[str]:
        """Return the accepted values of the key, sorted."""
        return sorted(self._entries)

    def __iter__(self) -> Iterator[tuple[str, Entry[Part]]]:
        return iter(sorted(self._entries.items()))

    def entry(self, name: str) -> Entry[Part]:
        """Return what is registered under a name, in any case.

        Raises:
            UnsegError: nothing is registered under it; the message lists the names.
        """
        if name.lower() not in self._entries:
            known = self.names()
            raise UnsegError(
                f"{self.key} is '{name}', but must be one of {', '.join(known)}.{nearest(name.lower(), known)} "
                "A plug-in has to be imported: --import MODULE, or PLUGINS in the recipe."
            )
        return self._entries[name.lower()]

    def named(self, cfg: Mapping[str, Any]) -> list[str]:
        """Return the names that the key has in a configuration, several where it is a list, and what these use."""
        value = look_up(cfg, self.key)
        names = [value.lower()] if isinstance(value, str) else [name.lower() for name in value]
        for name in names:  # which grow meanwhile
            uses = self._entries[name].uses if name in self._entries else ""
            other = look_up(cfg, uses).lower() if uses else ""
            if other and other not in names:
                names.append(other)
        return names

    def build(self, cfg: Mapping[str, Any], name: str | None = None) -> Part:
        """Return the part that a configuration names.

        Args:
            cfg: whole configuration; its ``PLUGINS`` are imported first, since this may be another process than the
                one that read the recipe.
            name: used in place of the key's value, and needed where that is a list.

        Raises:
            UnsegError: the name is not registered, a setting is out of range, or the part cannot be made.
        """
        load_plugins(cfg.get("PLUGINS", ()))
        wanted = look_up(cfg, self.key) if name is None else name
        entry = self.entry(wanted)
        for key, value in entry.sets.items():  # a configuration that was not loaded here lacks them
            if look_up(cfg, key) != value:
                raise UnsegError(
                    f"{self.key} {wanted} works with {key} {value}, but that is {look_up(cfg, key)}; set it."
                )
        try:
            return entry.build(cfg)
        except ValueError as error:
            raise UnsegError(f"The settings in {entry.section} do not work: {error}.") from None


def set_by_names(cfg: Any) -> list[str]:
    """Set, in place, what the parts that a configuration names work with (``sets`` of :meth:`Registry.register`).

    Args:
        cfg: whole configuration, not frozen.

    Returns:
        A sentence for each key that has changed.

    Raises:
        UnsegError: the key has another value than its default and than the part's.
    """
    defaults, told = dict(all_settings()), []
    for registry in REGISTRIES.values():
        for name in registry.named(cfg):
            for key, value in registry.entry(name).sets.items() if name in registry.names() else ():
                now = look_up(cfg, key)
                if now == value:
                    continue
                if now != defaults[key].default:
                    raise UnsegError(
                        f"{registry.key} {name} works with {key} {value}, but that is {now}; leave one out."
                    )
                section, _, last = key.rpartition(".")
                look_up(cfg, section)[last] = value
                told.append(f"{registry.key} {name} sets {key} to {value}.")
    return told


def fit_to_names(cfg: Any, stated: Collection[str]) -> list[str]:
    """Set, in place, what fits the parts that a configuration names (``fits`` of :meth:`Registry.register`).

    Args:
        cfg: whole configuration, not frozen.
        stated: keys that a recipe or a command line states, which stay; settings of parts that are not named do too.

    Returns:
        A sentence for each key that has changed.
    """
    told, unused = [], _sections_of_others(cfg)
    for registry in REGISTRIES.values():
        for name in registry.named(cfg):
            for key, value in registry.entry(name).fits.items() if name in registry.names() else ():
                section, _, last = key.rpartition(".")
                if key in stated or section in unused or look_up(cfg, key) == value:
                    continue
                look_up(cfg, section)[last] = value
                told.append(f"{key} is {value}, which fits {registry.key} {name}.")
    return told


def fitted_by(key: str) -> list[tuple[str, str, Any]]:
    """Return the parts with which a key has another default: key and name of the part, and the value."""
    return [
        (registry.key, name, entry.fits[key])
        for registry in REGISTRIES.values()
        for name, entry in registry
        if key in entry.fits
    ]


def _sections_of_others(cfg: Mapping[str, Any]) -> set[str]:
    """Return the sections of the parts that a configuration does not name."""
    chosen, others = set[str](), set[str]()
    for registry in REGISTRIES.values():
        for name, entry in registry:
            (chosen if name in registry.named(cfg) else others).add(entry.section)
    return others - chosen


def code_of_parts(cfg: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    """Return the code from outside this package that a run depends on, as an entry of its manifest.

    Args:
        cfg: whole configuration: its ``PLUGINS``, and the modules of the parts that its keys name, are looked at.
        without: beginnings of the keys of parts that have no effect on the run.

    Returns:
        ``{"plugins": {module: sha256}}``, see :func:`~unseg_d2.plugin_code.code_of`; empty where there is none.
    """
    load_plugins(cfg.get("PLUGINS", ()))
    modules = {name for name in cfg.get("PLUGINS", ()) if not registers_only(name, without)}
    for key, registry in REGISTRIES.items():
        if not key.startswith(without):
            named = registry.named(cfg)
            modules |= {entry.make.__module__ for name, entry in registry if name in named}
    found = code_of(modules)
    return {CODE: found} if found else {}


def registers_only(plugin: str, beginnings: tuple[str, ...]) -> bool:
    """Whether a plug-in registers parts, but only of keys with one of these beginnings.

    Args:
        plugin: as ``PLUGINS`` has it: a module or a file, imported already.
        beginnings: such as ``("TEST.",)`` for evaluators.
    """
    module = module_name(plugin)
    keys = {
        key
        for key, registry in REGISTRIES.items()
        if any(f"{entry.make.__module__}.".startswith(f"{module}.") for _, entry in registry)
    }
    return bool(keys) and all(key.startswith(beginnings) for key in keys)


def check_unused(cfg: Mapping[str, Any]) -> None:
    """Refuse settings of a part that no key names, where its kind is used by name only.

    Args:
        cfg: whole configuration, whose keys name registered parts.

    Raises:
        UnsegError: such a setting has another value than its default.
    """
    keys = [key for key, registry in REGISTRIES.items() if registry.by_name_only]
    for sentence in unused_settings(cfg, keys):
        raise UnsegError(f"{sentence} Name it there, or leave out its settings.")


def unused_settings(cfg: Mapping[str, Any], keys: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each setting that differs from its default and has no effect on the parts that are named.

    Args:
        cfg: whole configuration.
        keys: of the kinds of parts to look at.
    """
    defaults = dict(all_settings())
    chosen: set[str] = set()
    others: dict[str, tuple[str, str]] = {}
    for key in keys:
        for name, entry in REGISTRIES[key]:
            if name in REGISTRIES[key].named(cfg):
                chosen |= {entry.section, *entry.reads}
                for ignored in entry.ignores:
                    value, known = look_up(cfg, ignored), defaults[ignored]
                    if value != known.default and value not in known.harmless:
                        yield f"{ignored} is {value!r}, which has no effect with {key} {name}."
            elif entry.settings is not None:
                others[entry.section] = key, name
    for where, (key, name) in others.items():
        below = f"{where}."  # also what is in sections of it
        for one in [] if where in chosen else [one for one in defaults if one.startswith(below)]:
            if (value := look_up(cfg, one)) != defaults[one].default:
                yield f"{one} is {value!r}, which has no effect: {key} does not name {name}."


def _origin(make: Callable[..., Any]) -> str:
    return f"{make.__module__}.{make.__qualname__}"
