"""A job database as an instance asks it, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from locum.jobs.finish import Finish
from locum.jobs.job import Job
from locum.jobs.overlap import Overlap
from locum.jobs.triggers import Every

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from locum.jobs.database import JobDatabase
    from locum.jobs.ledger import Taken
    from locum.jobs.steps import LiveRun

__all__ = ["SECOND", "A", "B", "Book", "do_everything", "job", "one_claimed"]

A, B = "a" * 32, "b" * 32
SECOND = 1_000_000


async def body() -> None: ...


def job(name: str = "sum", **options: Any) -> Job:
    return Job(**{"name": name, "body": body, "trigger": Every(3600), **options})


class Book:
    """A job database, asked as an instance would."""

    def __init__(self, database: JobDatabase) -> None:
        self.database, self.ledger = database, database.ledger

    async def do(self, work: Callable[[Connection], Any]) -> Any:
        return await self.database.transact(work)

    async def declare(self, *jobs: Job) -> None:
        await self.do(lambda db: self.ledger.declare(db, jobs))

    async def take(self, *jobs: Job, session: str = A, room: int = 100) -> list[LiveRun]:
        return [run for run, _ in (await self.look(*jobs, session=session, room=room)).runs]

    async def look(self, *jobs: Job, session: str = A, room: int = 100) -> Taken:
        known = {one.name: one for one in jobs}
        taken: Taken = await self.do(
            lambda db: self.ledger.take(db, known, session=session, instance=session[:1], room=room)
        )
        return taken

    async def finish(self, run: LiveRun, outcome: Any = "succeeded", *, session: str = A, **more: Any) -> bool:
        """Whether it was written."""
        end = Finish(run.id, more.pop("token", run.token), outcome, **more)
        return run.id not in await self.do(lambda db: self.ledger.finish(db, [end], session=session))

    async def history(self, name: str = "sum") -> list[Any]:
        return list(await self.do(lambda db: self.ledger.history(db, name)))

    async def live(self, name: str = "sum") -> list[Any]:
        return list(await self.do(lambda db: self.ledger.live(db, name)))

    async def of(self, name: str = "sum") -> Any:
        return next(row for row in await self.do(self.ledger.jobs) if row.name == name)

    async def plan(self, seconds: float, name: str = "sum") -> int:
        """Have a job planned for so many seconds before now, in whole seconds."""
        now: int = await self.do(self.ledger.now)
        return await self.plan_at((now - int(seconds * SECOND)) // SECOND * SECOND, name)

    async def plan_at(self, at: int, name: str = "sum", *, decided: bool = True) -> int:
        """Have a job planned for an instant, and all decided until there, and nothing from there on."""
        jobs = self.ledger._jobs
        planned = update(jobs).where(jobs.c.name == name).values(next_at=at)
        if decided:
            planned = planned.values(decided_until=at - 1)
        await self.do(lambda db: db.execute(planned))
        return at


async def one_claimed(book: Book, of: Job) -> LiveRun:
    await book.declare(of)
    await book.take(of)
    await book.plan(1)
    (run,) = await book.take(of)
    return run


async def do_everything(book: Book) -> None:
    """All that is ever said to a job database, once at least."""
    ledger = book.ledger
    of, cut = job("sum", key="{fire_at:%Y}", key_limit=2), job("cut", trigger=None, slices=2)
    after = job("after", trigger=None, after="sum", overlap=Overlap(policy="cancel_running"))
    jobs = (of, cut, after)
    known = {one.name: one for one in jobs}

    async def end(run: LiveRun, outcome: Any = "succeeded", session: str = A, **more: Any) -> None:
        finish = Finish(run.id, run.token, outcome, **more)
        assert not await book.do(lambda db: ledger.finish(db, [finish], session=session, jobs=known))

    await book.declare(*jobs)
    await book.declare(job("sum", trigger=Every(60), overlap=Overlap(policy="allow", most=2)), job("stranger"))
    await book.declare(*jobs)
    await book.do(lambda db: ledger.enlist(db, known, session=A, instance="a"))
    await book.take(*jobs)
    for name in ("sum", "stranger"):
        await book.plan(1, name)
    await book.take(*jobs)
    (run,) = await book.take(*jobs) or await book.take(*jobs)
    await book.do(lambda db: ledger.checkpoint(db, run.id, job="sum", token=run.token, session=A, value="1"))
    await end(run, floor=run.token + 5)
    (run,) = await book.take(*jobs)
    await end(run, "again", error="oh")
    (run,) = await book.take(*jobs)
    await end(run, "dead")
    await book.do(lambda db: ledger.redrive(db, run.id))
    (run,) = await book.take(*jobs)
    assert await book.do(lambda db: ledger.recover(db, A)) == 1
    (run,) = await book.take(*jobs, session=B)
    assert await book.do(lambda db: ledger.put_back(db, B, but=set())) == 1
    assert await book.do(lambda db: ledger.sessions(db)) == []
    await book.do(lambda db: ledger.cancel(db, run.id))
    await book.do(lambda db: ledger.run_now(db, "cut", nonce="x", params="{}"))
    (whole,) = await book.take(*jobs)
    await end(whole, "cut", parts=("{}", "{}"), completes=True)
    for run in await book.take(*jobs):
        await book.do(lambda db: ledger.checkpoint_slice(db, run.id, token=run.token, session=A, value="1"))  # noqa: B023
        await end(run, result="1")
    (whole,) = await book.take(*jobs)
    await book.do(lambda db: (ledger.results(db, whole.id), ledger.under_way(db, None, slices=True)))
    await book.do(lambda db: ledger.cancel(db, whole.id))
    await end(whole, "dead")
    await book.do(lambda db: ledger.discard(db, whole.id))
    await book.do(lambda db: ledger.backfill(db, "sum", [(SECOND, "{}")]))
    await book.do(lambda db: ledger.pause(db, "sum", reason="r", author="a"))
    await book.do(lambda db: ledger.resume(db, "sum"))
    await book.do(lambda db: (ledger.jobs(db), ledger.history(db), ledger.live(db), ledger.declared_by(db)))
    await book.do(lambda db: ledger.forget(db, [A]))
    await book.do(lambda db: ledger.remove(db, "sum"))
    await book.do(lambda db: ledger.purge(db, {"sum": 1.0}))
    await book.do(ledger.survey)
