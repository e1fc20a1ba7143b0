"""Published weights: what there is, under which licence, and how it gets onto this machine."""

from unseg_d2.zoo.registry import Entry, entries, find
from unseg_d2.zoo.store import get, resolve, verify

__all__ = ["Entry", "entries", "find", "get", "resolve", "verify"]
