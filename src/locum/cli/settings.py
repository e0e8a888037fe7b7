"""The options by which a command line overrides settings: the uppermost layer."""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from locum.host.layers import COMMAND_LINE_VARIABLE, CONFIG_VARIABLE, ENV_FILE_VARIABLE
from locum.host.settings import SECTION
from locum.keeper.budget import Budget
from locum.logs import LOG_FORMATS, LOG_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["settings_options"]

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS: Final = (
    click.option("--store", metavar="URL", help="The store that all instances share."),
    click.option(
        "--ttl", metavar="S", type=float, help="Seconds until an instance that cannot be seen is taken for lost."
    ),
    click.option("--log-format", type=click.Choice(LOG_FORMATS), help="How lines are logged."),
    click.option("--log-level", type=click.Choice(LOG_LEVELS), help="The least level that is logged."),
    click.option("--config", metavar="FILE", help="A file of settings: TOML, JSON or YAML."),
    click.option("--env-file", metavar="FILE", help="A file of variables, as NAME=VALUE."),
    click.option("--set", "given", metavar="KEY=VALUE", multiple=True, help="One setting, such as billing.rate=5."),
)


def settings_options(command: F) -> F:
    """Options for settings; the command gets the environment that carries them as its argument `environment`."""

    @functools.wraps(command)
    def with_environment(
        *,
        config: str | None,
        env_file: str | None,
        given: tuple[str, ...],
        **others: Any,
    ) -> object:
        own = {key: others.pop(key) for key in ("store", "ttl", "log_format", "log_level")}
        if own["ttl"] is not None:
            Budget.of_seconds(own["ttl"])  # what cannot be kept is refused before anything starts
        line = {f"{SECTION}.{key}": str(value) for key, value in own.items() if value is not None}
        line |= dict(map(_pair, given))
        environment = {name: text for name, text in os.environ.items() if name != COMMAND_LINE_VARIABLE}
        for variable, text in (
            (CONFIG_VARIABLE, config),
            (ENV_FILE_VARIABLE, env_file),
            (COMMAND_LINE_VARIABLE, json.dumps(line) if line else None),
        ):
            if text is not None:
                environment[variable] = text
        return command(environment=environment, **others)

    for option in reversed(_OPTIONS):
        with_environment = option(with_environment)
    return cast("F", with_environment)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise click.BadParameter(f"{text!r} is not SECTION.KEY=VALUE, such as billing.rate=5", param_hint="--set")
    return key, value
