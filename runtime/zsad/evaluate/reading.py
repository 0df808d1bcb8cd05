"""Reads samples ahead of their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from zsad.data import Dataset, Sample


def read_ahead(dataset: Dataset, workers: int) -> Iterator[Sample]:
    """Yield every sample in order, read by so many threads ahead of its turn."""
    if not workers:
        yield from (dataset[index] for index in range(len(dataset)))
        return
    with ThreadPoolExecutor(workers) as pool:
        # Bounded, as a reader faster than the model would otherwise hold the whole set.
        waiting: deque[Future[Sample]] = deque()
        try:
            for index in range(len(dataset)):
                waiting.append(pool.submit(dataset.__getitem__, index))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
