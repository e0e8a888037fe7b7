"""`locum demo`: the real thing, hurt on purpose, and then audited."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("demo", short_help="Run real instances, hurt them, and audit what they did.")
@click.option("--seconds", metavar="S", type=click.FloatRange(min=1), default=20, show_default=True, help="How long.")
@click.option(
    "--kills", metavar="K", type=click.IntRange(min=0), default=4, show_default=True, help="How often to hurt."
)
@click.option("--rate", metavar="R", type=float, help="Orders a second; LOCUM_DEMO_RATE, or 50.")
@click.option(
    "--interval", metavar="S", type=float, help="How often to look for orders; LOCUM_DEMO_INTERVAL, or 0.005."
)
@click.option(
    "--broker", metavar="URL", help="Relay what is published to redis://, nats:// or amqp://; LOCUM_DEMO_BROKER."
)
@click.option(
    "--instances", metavar="N", type=click.IntRange(min=2), default=3, show_default=True, help="How many run."
)
@click.option("--store", metavar="URL", help="The store to agree in; a SQLite file of the demo's own if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    seconds: float,
    kills: int,
    rate: float | None,
    interval: float | None,
    broker: str | None,
    instances: int,
    store: str | None,
    as_json: bool,
) -> int:
    """Start real instances that publish orders, hurt the active one again and again, and audit the rows they wrote.

    The orders are in a SQLite file in any case: they stand for your own database, and --store for the one through which
    the instances agree.

    With a broker each order is published at least once: who is killed between publishing and marking leaves it to the
    next one to send again, and the audit says which were.

    The exit code is 0 only if nothing was lost, nothing was done twice, and every takeover happened.
    """
    from locum.demo.main import run_demo
    from locum.demo.settings import read_settings

    given = {"rate": rate, "interval": interval, "broker": broker}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    return run_demo(seconds=seconds, kills=kills, settings=settings, instances=instances, store=store, as_json=as_json)
