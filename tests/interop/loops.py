"""An event loop of asyncio in a thread of its own, for peers that need one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..tasks import PATIENCE, Task


class Loop:
    """A loop that runs until it is closed. For one thread, which is not the loop's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._task = Task(self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine, or what it raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def run_first(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """As `run`, of what everything else needs: if it fails the loop is closed."""
        try:
            return self.run(coroutine)
        except BaseException:
            self.close()
            raise

    def run_last(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """`run`, and close the loop, whatever comes of it."""
        try:
            self.run(coroutine)
        finally:
            self.close()

    def close(self) -> None:
        """End it, with the tasks that it has."""
        try:
            self.run(_cancel_others())
            self.run(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._task.result()
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
