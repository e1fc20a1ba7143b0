"""Published weights: the list with their licences, and how they are fetched and checked."""

from unseg_d2.zoo.registry import Entry, entries, find
from unseg_d2.zoo.store import get, resolve, verify

__all__ = ["Entry", "entries", "find", "get", "resolve", "verify"]
