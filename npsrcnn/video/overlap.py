"""Let the steps of a pipeline overlap, each in a thread of its own, with short queues between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from npsrcnn.runtime.threads import get_num_threads, limited

AHEAD = 3  # items that wait between two steps: memory does not grow with the number of items
PATIENCE = 0.1  # seconds between two looks whether anybody still takes what is offered

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    """The last that comes out of a step: it is done, or it raised an error."""

    error: BaseException | None = None


def run_ahead(
    items: Generator[Item, None, None], ahead: int = AHEAD
) -> Generator[Item, None, None]:
    """Yield the items of a generator, which a thread computes a few in advance.

    What the generator raises is raised here. When this is closed, the thread closes the generator
    and ends, after the item that it is at.
    """
    offered: queue.Queue[Item | _End] = queue.Queue(ahead)
    stopped, threads = threading.Event(), get_num_threads()

    def offer(item: Item | _End) -> None:
        while not stopped.is_set():
            try:
                return offered.put(item, timeout=PATIENCE)
            except queue.Full:
                pass  # whoever takes it is slower
        return None

    def work() -> None:
        end = _End()
        try:
            with limited(threads):  # as this thread may use, where a cluster's worker shares them
                for item in items:
                    offer(item)
                    if stopped.is_set():
                        break
        except BaseException as error:
            end = _End(error)
        finally:
            items.close()
        offer(end)

    thread = threading.Thread(target=work, name="npsrcnn-video", daemon=True)
    thread.start()
    try:
        while not isinstance(item := offered.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
