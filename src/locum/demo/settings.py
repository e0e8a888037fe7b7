"""What can be set in the demo: from the environment (`LOCUM_DEMO_...`), which `locum demo` sets for its instances."""

from __future__ import annotations

from typing import Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from locum.demo.brokers import broker_for
from locum.errors import ConfigurationError

__all__ = ["PREFIX", "DemoSettings", "open_settings", "read_settings"]

PREFIX: Final = "LOCUM_DEMO_"


class DemoSettings(BaseSettings):
    """The settings of the grace-period service.

    Attributes:
        interval: Seconds from one look for orders that are due to the next.
        rate: Orders that are placed a second.
        broker: Where the outbox is relayed to, as a URL; empty to keep the events in the orders database alone.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    interval: float = Field(default=0.005, gt=0, le=60)
    rate: float = Field(default=50.0, ge=0.1)
    broker: str = ""

    def to_environment(self) -> dict[str, str]:
        """As an instance reads them; a broker's password stands in no command line."""
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in self.model_dump().items()}


def open_settings() -> DemoSettings:
    """The settings of an instance, as its environment says them; the container builds them by this."""
    return read_settings()


def read_settings(**given: object) -> DemoSettings:
    """The settings: what is given, else what the environment says.

    Raises:
        ConfigurationError: Some cannot be; it names them all.
    """
    try:
        settings = DemoSettings(**given)  # type: ignore[arg-type]  # they are checked there
        broker_for(settings.broker, "")
        return settings
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{str(one['loc'][0]).upper()}={one['input']!r}: {one['msg']}" for one in error.errors()
        )
        raise ConfigurationError(f"the demo cannot run so: {wrong}") from error
