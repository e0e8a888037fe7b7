"""The user's settings as collaborators: the ones that change, and the ones that hold for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from locum.host.configuration import Configuration, Options, Snapshot

if TYPE_CHECKING:
    from locum.host.container import Container

__all__ = ["provide_options"]

T = TypeVar("T")


def provide_options(container: Container, configuration: Configuration, model: type[T], section: str) -> Options[T]:
    """Read a section as a model, and give it to whoever asks for it by type."""
    options = configuration.add(model, section)
    kind: Any = Options[model]  # type: ignore[valid-type]

    def all_of_them() -> Snapshot:
        return configuration.snapshot

    def changing() -> object:
        return options

    def for_a_run(snapshot: Snapshot) -> object:  # of one run, whose models are all of one moment
        return snapshot.options[section]

    all_of_them.__annotations__["return"] = Snapshot
    changing.__annotations__["return"] = kind
    for_a_run.__annotations__.update({"snapshot": Snapshot, "return": model})
    container.provide(all_of_them, "run")
    container.provide(changing, "host")
    container.provide(for_a_run, "run")
    return options
