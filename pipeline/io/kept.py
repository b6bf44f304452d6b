"""Attributes that are found when they are first asked for, and kept."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

S = TypeVar("S")
T = TypeVar("T")


class Kept(Generic[S, T]):
    """Decorates the method that finds the attribute.

    As ``functools.cached_property``, which in Python 3.11 holds one lock for all instances: a
    thread that does not come back from one file would keep all others from theirs. Two threads
    that ask one object at the same time may both look here.
    """

    def __init__(self, find: Callable[[S], T]) -> None:
        self._find = find
        self._name = find.__name__
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Self: ...

    @overload
    def __get__(self, owner: S, kind: type[S]) -> T: ...

    def __get__(self, owner: S | None, kind: type[Any]) -> Self | T:
        if owner is None:
            return self
        # What is in the object's own dictionary is found before this descriptor.
        found = vars(owner)[self._name] = self._find(owner)
        return found
