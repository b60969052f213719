"""What may not leave the process: it can be neither pickled nor copied nor made JSON."""

from __future__ import annotations

from typing import NoReturn


class Unsendable:
    """Base of values that hold a person's body."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is about one person's body: it has no serialiser")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is about one person's body: it has no serialiser")
