"""APScheduler 3 with its SQLAlchemy store, and ten threads as it comes; nothing keeps two of them from firing twice."""

from __future__ import annotations

import signal
import threading

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine

from benchmarks.jobs.work import Work

work = Work()


def fire(number: int) -> None:
    """The whole job."""
    work.note(number)


def main() -> None:
    """Make the schedules, or fire."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    engine = create_engine(work.server.replace("postgresql://", "postgresql+psycopg://"))
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(engine=engine)}, job_defaults={"misfire_grace_time": None}
    )
    scheduler.start(paused=work.is_to_prepare)
    if work.is_to_prepare:
        for number in range(work.many):
            when = {"seconds": work.period, "start_date": work.first(number)} if work.period else {}
            once = {} if when else {"run_date": work.first(number)}
            kind = "interval" if when else "date"
            scheduler.add_job(
                "benchmarks.jobs.contenders.apscheduler3:fire", kind, id=str(number), args=[number], **when, **once
            )
        scheduler.shutdown()
        return
    work.stand()
    over.wait()
    scheduler.shutdown(wait=False)


if __name__ == "__main__":
    main()
