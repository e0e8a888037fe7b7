"""The deadline in shared memory: two maps, two processes, one truth."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from locum.keeper.cell import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def two() -> Iterator[tuple[Cell, Cell]]:
    memory = Cell.make()
    keeper, worker = Cell(memory), Cell(memory)
    os.close(memory)  # the maps live on
    yield keeper, worker
    keeper.close()
    worker.close()


def deadlines(cell: Cell) -> tuple[int, int, int]:
    return cell.generation, cell.cancel_at, cell.kill_at


def test_what_the_keeper_writes_the_worker_reads(two: tuple[Cell, Cell]) -> None:
    keeper, worker = two
    assert deadlines(worker) == (0, 0, 0)
    keeper.begin(1, 600, 850)
    assert deadlines(worker) == (1, 600, 850)
    keeper.advance(700, 950)
    assert deadlines(worker) == (1, 700, 950)


@pytest.mark.parametrize(
    ("advance", "stands"),
    [((500, 800), (600, 850)), ((500, 900), (600, 900)), ((700, 800), (700, 850)), ((0, 900), (600, 900))],
)
def test_deadlines_never_go_back(two: tuple[Cell, Cell], advance: tuple[int, int], stands: tuple[int, int]) -> None:
    keeper, worker = two
    keeper.begin(1, 600, 850)
    keeper.advance(*advance)
    assert deadlines(worker) == (1, *stands)


def test_a_new_generation_has_its_own_deadlines(two: tuple[Cell, Cell]) -> None:
    keeper, worker = two
    keeper.begin(1, 600, 850)
    keeper.begin(2, 300, 400)
    assert deadlines(worker) == (2, 300, 400)


def test_no_generation_after_the_end(two: tuple[Cell, Cell]) -> None:
    keeper, worker = two
    keeper.begin(1, 600, 850)
    keeper.end()
    assert deadlines(worker) == (0, 0, 0)


def test_the_worker_tells_that_its_loop_turns(two: tuple[Cell, Cell]) -> None:
    keeper, worker = two
    worker.turned_at = 2**62
    assert keeper.turned_at == 2**62
    keeper.begin(1, 600, 850)
    assert keeper.turned_at == 2**62, "the keeper's writes leave the worker's word alone"


def test_another_process_reads_what_stands_there_now() -> None:
    memory = Cell.make()
    cell = Cell(memory)
    ask, answer = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # only what a forked child may safely do
        try:
            seen = Cell(memory)
            os.read(ask[0], 1)
            os.write(answer[1], f"{deadlines(seen)}".encode())
        finally:
            os._exit(0)
    cell.begin(3, 600, 850)  # written after the fork
    os.write(ask[1], b".")
    assert os.read(answer[0], 100).decode() == "(3, 600, 850)"
    os.waitpid(child, 0)
    for fd in (*ask, *answer, memory):
        os.close(fd)
    cell.close()
