"""What can be set in the demo: by the layers of every host, in the section `locum_demo` (`LOCUM_DEMO_...`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from locum.demo.brokers import broker_for
from locum.errors import ConfigurationError
from locum.host.layers import Layer, Sources, variable_of
from locum.host.models import read_model
from locum.host.settings import all_wrong

__all__ = ["SETTINGS_SECTION", "DemoSettings", "read_settings"]

SETTINGS_SECTION: Final = "locum_demo"


class DemoSettings(BaseModel):
    """The settings of the grace-period service.

    Attributes:
        interval: Seconds from one look for orders that are due to the next; a reload changes it.
        rate: Orders that are placed a second.
        broker: Where the outbox is relayed to, as a URL; empty to keep the events in the orders database alone.
    """

    model_config = ConfigDict(frozen=True)

    interval: float = Field(default=0.005, gt=0, le=60)
    rate: float = Field(default=50.0, ge=0.1)
    broker: str = ""

    @field_validator("broker")
    @classmethod
    def _is_known(cls, broker: str) -> str:
        """See that there is such a broker; so its library is loaded before there is a loop that it would hold up."""
        try:
            broker_for(broker, "")
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return broker

    def to_environment(self) -> dict[str, str]:
        """As an instance reads them; a broker's password stands in no command line."""
        prefix = variable_of(SETTINGS_SECTION)
        return {f"{prefix}_{name.upper()}": str(value) for name, value in self.model_dump().items()}


def read_settings(**given: object) -> DemoSettings:
    """The settings as an instance would read them, and over them what is given.

    Raises:
        ConfigurationError: Some cannot be; it names them all.
    """
    wrong: list[str] = []
    layers = [*Sources(Path.cwd()).read(wrong), Layer(name="command line", tree={SETTINGS_SECTION: given})]
    found = read_model(DemoSettings, SETTINGS_SECTION, layers)
    if wrong or found.wrong:
        raise all_wrong([*wrong, *found.wrong])
    return found.value  # type: ignore[no-any-return]
