"""What asks for what, and whether that can be had: decided before anything is built, without the injection library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from locum.errors import ConfigurationError

__all__ = ["LIFETIMES", "Lifetime", "Maker", "Wanted", "Wiring", "name_of"]

Lifetime = Literal["host", "run", "tick"]
LIFETIMES: Final[tuple[Lifetime, ...]] = ("host", "run", "tick")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One parameter that asks for a collaborator.

    Attributes:
        kind: Its type; `None` where it has none.
        has_default: Whether it can do without.
    """

    kind: Any
    has_default: bool


@dataclass(frozen=True, slots=True)
class Maker:
    """What provides one type.

    Attributes:
        factory: The function or class.
        asks_for: Its own collaborators, by name.
        lifetime: How long what it makes lives.
    """

    factory: Any
    asks_for: dict[str, Wanted]
    lifetime: Lifetime


class Wiring:
    """Who makes what.

    Args:
        makers: By the type that each provides.
    """

    def __init__(self, makers: dict[Any, Maker]) -> None:
        self._makers = makers

    def found(self, asked: dict[str, Wanted]) -> dict[str, Any]:
        """The types that are built, by name: all that are asked for, but those that fall back on a default."""
        return {
            name: wanted.kind
            for name, wanted in asked.items()
            if not (wanted.has_default and wanted.kind not in self._makers)
        }

    def check(self, asker: Any, asked: dict[str, Wanted], *, lives: int) -> None:
        """See that what somebody asks for is provided, and lives as long as the one who asks.

        Args:
            asker: A service, a body or a factory.
            asked: Its collaborators.
            lives: How short its own life is, as a place in `LIFETIMES`; beyond them for a body, which may have any.

        Raises:
            ConfigurationError: It is not.
        """
        for name, kind in self.found(asked).items():
            if kind is None:
                raise ConfigurationError(
                    f"{name_of(asker)} has a parameter {name!r} without a type: say what it asks for"
                )
            if kind not in self._makers:
                raise ConfigurationError(
                    f"{name_of(asker)} asks for {name_of(kind)} ({name!r}), and nothing provides it:"
                    " host.provide(...) a function that returns one"
                )
            lifetime = self._makers[kind].lifetime
            if LIFETIMES.index(lifetime) > lives:
                raise ConfigurationError(
                    f"{name_of(asker)} lives as long as the {LIFETIMES[lives]} and asks for {name_of(kind)} ({name!r}),"
                    f" which lives for one {lifetime} only: ask for it in the body, or provide it with"
                    f" lifetime={LIFETIMES[lives]!r}"
                )

    def check_circles(self) -> None:
        """See that nothing needs itself in the end.

        Raises:
            ConfigurationError: Something does.
        """
        done: set[Any] = set()
        for kind in self._makers:
            self._follow(kind, [], done)

    def _follow(self, kind: Any, path: list[Any], done: set[Any]) -> None:
        if kind in path:
            circle = " -> ".join(name_of(one) for one in (*path[path.index(kind) :], kind))
            raise ConfigurationError(f"the collaborators need each other in a circle: {circle}: break it at one place")
        if kind in done:
            return
        for needed in self.found(self._makers[kind].asks_for).values():
            self._follow(needed, [*path, kind], done)
        done.add(kind)


def name_of(thing: Any) -> str:
    """What something is called in a message."""
    return getattr(thing, "__qualname__", None) or str(thing)
