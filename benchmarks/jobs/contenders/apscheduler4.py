"""APScheduler 4 with its SQLAlchemy store and its event broker on the same PostgreSQL, a hundred jobs at once."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

from apscheduler import AsyncScheduler
from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
from apscheduler.eventbrokers.psycopg import PsycopgEventBroker
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.jobs.work import Work

work = Work()


async def fire(number: int) -> None:
    """The whole job."""
    work.note(number)


async def main() -> None:
    """Make the schedules, or fire."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    engine = create_async_engine(work.server.replace("postgresql://", "postgresql+psycopg://"))
    async with AsyncScheduler(
        SQLAlchemyDataStore(engine), PsycopgEventBroker(work.server), max_concurrent_jobs=100
    ) as scheduler:
        await scheduler.configure_task("fire", func=fire)
        if work.is_to_prepare:
            for number in range(work.many):
                first = work.first(number)
                trigger = (
                    IntervalTrigger(
                        microseconds=timedelta(seconds=work.period) // timedelta(microseconds=1), start_time=first
                    )
                    if work.period
                    else DateTrigger(first)
                )
                await scheduler.add_schedule("fire", trigger, id=str(number), args=[number])
            return
        await scheduler.start_in_background()
        work.stand()
        await over.wait()
        await scheduler.stop()


if __name__ == "__main__":
    asyncio.run(main())
