"""What comes while the model is busy is one batch; each gets its own answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.service.batches import Batches


def _run(compute: Callable[[list[Any]], Any], asked: Callable[[Batches], Any], most: int = 8) -> Any:
    async def main() -> Any:
        with ThreadPoolExecutor(1) as executor:
            queue = Batches(compute, executor, most)
            task = asyncio.create_task(queue.run())
            try:
                return await asked(queue)
            finally:
                task.cancel()

    return asyncio.run(main())


def test_requests_during_a_batch_are_the_next_one() -> None:
    started, go, batches = threading.Event(), threading.Event(), []

    def compute(items: list[int]) -> list[int]:
        batches.append(items)
        started.set()
        go.wait(10)
        return [10 * item for item in items]

    async def asked(queue: Batches) -> list[list[int]]:
        first = asyncio.create_task(queue.ask([1]))
        await asyncio.to_thread(started.wait, 10)
        others = [asyncio.create_task(queue.ask(items)) for items in ([2, 3], [4], [5, 6, 7, 8, 9, 10], [])]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(first, *others)

    assert _run(compute, asked) == [[10], [20, 30], [40], [50, 60, 70, 80, 90, 100], []]
    assert batches == [[1], [2, 3, 4], [5, 6, 7, 8, 9, 10]]


def test_a_request_above_the_limit_is_a_batch_of_its_own() -> None:
    batches = []

    def compute(items: list[int]) -> list[int]:
        batches.append(len(items))
        return items

    async def asked(queue: Batches) -> Any:
        return await asyncio.gather(queue.ask([0] * 3), queue.ask(list(range(20))), queue.ask([1]))

    assert _run(compute, asked) == [[0] * 3, list(range(20)), [1]]
    assert batches == [3, 20, 1]


def test_an_error_goes_to_those_who_asked_and_the_next_are_served() -> None:
    def compute(items: list[int]) -> list[int]:
        if 13 in items:
            raise ValueError("unlucky")
        return items

    async def asked(queue: Batches) -> Any:
        with pytest.raises(ValueError, match="unlucky"):
            await queue.ask([13])
        return await queue.ask([14])

    assert _run(compute, asked) == [14]


def test_whoever_leaves_does_not_stop_the_others() -> None:
    started, go = threading.Event(), threading.Event()

    def compute(items: list[int]) -> list[int]:
        started.set()
        go.wait(10)
        return items

    async def asked(queue: Batches) -> Any:
        first = asyncio.create_task(queue.ask([1]))
        await asyncio.to_thread(started.wait, 10)
        leaves, stays = asyncio.create_task(queue.ask([2])), asyncio.create_task(queue.ask([3]))
        await asyncio.sleep(0)
        first.cancel()
        leaves.cancel()
        go.set()
        return await stays

    assert _run(compute, asked) == [3]
