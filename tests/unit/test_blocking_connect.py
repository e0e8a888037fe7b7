"""A coordinator for code that blocks: a script that leads for the length of a block."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from locum import blocking
from locum.errors import TermEndedError, UnknownStoreError, WaitTimeoutError
from tests.faults.kit.waiting import until
from tests.faults.kit.window import Window
from tests.unit.kit import LONG

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_a_script_leads_for_the_length_of_a_block_and_the_next_one_has_a_higher_token(url: str, tmp_path: Path) -> None:
    tokens = []
    with closing(sqlite3.connect(tmp_path / "orders.db")) as orders:
        orders.execute("CREATE TABLE orders (token INTEGER)")
        for name in ("first", "second"):
            with (
                blocking.connect(url, instance=name) as coordinator,
                coordinator.election("settlement").lead(timeout=LONG) as term,
            ):
                assert (term.name, term.instance, term.is_current) == ("settlement", name, True)
                assert coordinator.one_machine
                tokens.append(term.token)
                with term.transaction(orders) as connection:
                    connection.execute("INSERT INTO orders VALUES (?)", (term.token,))
            assert not term.is_current
        assert orders.execute("SELECT token FROM orders").fetchall() == [(token,) for token in tokens]
    assert tokens == [1, 2]


def test_nothing_is_left_of_it(url: str) -> None:
    before = threading.active_count()
    with blocking.connect(url) as coordinator, coordinator.election("settlement").lead(timeout=LONG):
        pass
    until(lambda: threading.active_count() <= before, "the end of its threads")
    with Window(url, "default") as window:
        assert window.sessions() == {}
        assert window.line("settlement") == []


def test_who_does_not_get_the_lead_in_time_is_told_and_leaves_the_line(url: str) -> None:
    with (
        blocking.connect(url, instance="first") as first,
        blocking.connect(url, instance="second") as second,
        first.election("settlement").lead(timeout=LONG) as term,
    ):
        with pytest.raises(WaitTimeoutError), second.election("settlement").lead(timeout=0.05):
            pass
        term.check()
        with Window(url, "default") as window:
            until(lambda: window.line("settlement") == ["first"], "the second one to leave the line")


def test_an_error_in_the_block_gives_the_lead_up_and_comes_through(url: str) -> None:
    with blocking.connect(url) as coordinator:
        with (
            pytest.raises(ValueError, match="boom"),
            coordinator.election("settlement").lead(timeout=LONG),
        ):
            raise ValueError("boom")
        with coordinator.election("settlement").lead(timeout=LONG) as term:
            assert term.token == 2


def test_a_block_that_is_asked_to_end_notices(url: str) -> None:
    with blocking.connect(url) as coordinator, Window(url, "default") as window:
        with coordinator.election("settlement").lead(timeout=LONG) as term:
            window.ask_to_resign("settlement", term.token, "was asked to resign")
            term.sleep(LONG)
            assert term.stopping
            with pytest.raises(TermEndedError, match="was asked to resign"):
                term.check()
        until(lambda: window.grant("settlement").holder is None, "the release")


def test_a_store_that_can_never_be_used_is_told_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(UnknownStoreError), blocking.connect("nowhere://at-all"):
        pass
    until(lambda: threading.active_count() <= before, "the end of its threads")


def test_a_forked_child_is_refused_and_does_not_hang(url: str) -> None:
    program = f"""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from locum import blocking
from locum.errors import ForkedError
with blocking.connect({url!r}) as coordinator:
    election = coordinator.election("settlement")
    with election.lead() as term:
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (
                lambda: coordinator.election("other"),
                lambda: election.lead().__enter__(),
                lambda: term.sleep(60),
                lambda: next(term.every(60)),
                term.check,
            ):
                try:
                    call()
                except ForkedError:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        term.check()
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG)
    assert found.returncode == 0, found.stderr


def test_nodes_are_made_written_and_watched_and_go_with_their_session(url: str) -> None:
    with blocking.connect(url, instance="other") as other:
        with blocking.connect(url, instance="first") as first:
            made = first.nodes.create("here/first", b"1", session_bound=True)
            lasting = first.nodes.set("config", b"1")
            assert other.nodes.list() == (made, lasting)
            states = other.nodes.watch("here/first")
            assert next(states) == made
        assert next(states) is None
        states.close()  # type: ignore[attr-defined]
        assert other.nodes.get("config") == lasting
        folder = other.nodes.watch_list()
        assert next(folder) == (lasting,)
        other.nodes.delete("config", version=lasting.version)
        assert next(folder) == ()
        folder.close()  # type: ignore[attr-defined]


def test_members_and_endpoints_are_seen_while_their_blocks_run(url: str) -> None:
    with blocking.connect(url, instance="one") as one, blocking.connect(url, instance="other") as other:
        group = other.members("web")
        states, changes = group.watch(), group.changes()
        assert next(states) == ()
        with one.members("web").join(version="1") as me:
            (joined,) = next(states)
            assert next(changes).joined == (joined,)
            me.update(load=0.5)
            (changed,) = next(changes).changed
            assert (changed.instance, changed.version, changed.load) == ("one", "1", 0.5)
            assert group.list() == (changed,)
        assert next(changes).left == (changed,)
        for watching in (states, changes):
            watching.close()  # type: ignore[union-attr]
        with one.election("invoices").lead() as term, one.naming.publish("invoices", "http://one", term=term):
            found = other.naming.resolve("invoices")
            assert found is not None
            assert (found.address, found.token) == ("http://one", term.token)
            assert other.naming.list("invoices") == (found,)
            seen, all_seen = other.naming.watch("invoices"), other.naming.watch_list("invoices")
            assert (next(seen), next(all_seen)) == (found, (found,))
        assert (next(seen), next(all_seen)) == (None, ())
        for watched in (seen, all_seen):
            watched.close()  # type: ignore[union-attr]
