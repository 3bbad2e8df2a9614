"""Requests that come while the model is busy are computed together, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple


class _Request(NamedTuple):
    items: list[Any]
    answer: asyncio.Future[list[Any]]


class Batches:
    """A queue in front of a function of many items.

    Nothing waits for company: an idle model takes what is there, and what comes meanwhile is its next batch.

    Args:
        compute: n items to n answers, in their order.
        executor: in which it runs; with one thread no two calls meet on a device.
        most: items of a batch; a request that holds more is a batch by itself.
    """

    def __init__(self, compute: Callable[[list[Any]], Sequence[Any]], executor: Executor, most: int):
        self._compute = compute
        self._executor = executor
        self._most = most
        self._waiting: asyncio.Queue[_Request] = asyncio.Queue()

    async def ask(self, items: list[Any]) -> list[Any]:
        """The answers to some items.

        Raises:
            Exception: what `compute` raised.
        """
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        await self._waiting.put(_Request(items, answer))
        return await answer

    async def run(self) -> None:
        """Answer for ever."""
        left: _Request | None = None
        while True:
            batch = [left or await self._waiting.get()]
            left = None
            count = len(batch[0].items)
            while not self._waiting.empty():
                request = self._waiting.get_nowait()
                if count + len(request.items) > self._most:
                    left = request
                    break
                batch.append(request)
                count += len(request.items)
            await self._answer([request for request in batch if not request.answer.done()])

    async def _answer(self, batch: list[_Request]) -> None:
        items = [item for request in batch for item in request.items]
        if not items:
            for request in batch:
                request.answer.set_result([])
            return
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, items)
        except Exception as error:  # it is the caller's; the next batch is served
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        start = 0
        for request in batch:
            end = start + len(request.items)
            if not request.answer.done():  # whoever asked has gone
                request.answer.set_result(list(found[start:end]))
            start = end
