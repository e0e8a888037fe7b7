"""procrastinate: jobs that are deferred to one moment, fetched one by one, a hundred at once."""

from __future__ import annotations

import asyncio

from procrastinate import App, PsycopgConnector

from benchmarks.jobs.work import Work

work = Work()
app = App(connector=PsycopgConnector(conninfo=work.server))


@app.task(name="fire")  # type: ignore[untyped-decorator]
async def fire(number: int) -> None:
    """The whole job."""
    work.note(number)


async def main() -> None:
    """Defer, or fire."""
    async with app.open_async():
        if work.is_to_prepare:
            await app.schema_manager.apply_schema_async()
            deferrer = fire.configure(schedule_at=work.first(0))
            await deferrer.batch_defer_async(*({"number": number} for number in range(work.many)))
            return
        work.stand()
        await app.run_worker_async(concurrency=100, fetch_job_polling_interval=0.5)


if __name__ == "__main__":
    asyncio.run(main())
