import threading
import time
from collections.abc import Callable, Iterator

import pytest

from avperception.nodes.worker import Worker

TIMEOUT_S = 5.0


class Bench:
    """Workers whose handler waits for a gate, with what they handled and dropped."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.handled: list[int] = []
        self.dropped: list[int] = []
        self.threads: set[str] = set()
        self.workers: list[Worker[int]] = []

    def worker(self, capacity: int) -> Worker[int]:
        self.workers.append(Worker("bench", self._handle, self.dropped.append, capacity))
        return self.workers[-1]

    def _handle(self, item: int) -> None:
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        self.threads.add(threading.current_thread().name)
        self.handled.append(item)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.gate.set()
    for worker in made.workers:
        worker.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_items_are_handled_in_order_on_the_workers_own_thread(bench: Bench):
    worker = bench.worker(capacity=100)
    for item in range(100):
        worker.submit(item)
    bench.gate.set()
    wait_for(lambda: worker.is_idle)
    assert bench.handled == list(range(100))
    assert bench.threads == {"bench"} and not bench.dropped


def test_overload_drops_the_oldest_that_wait(bench: Bench):
    worker = bench.worker(capacity=2)
    worker.submit(0)
    assert bench.entered.wait(TIMEOUT_S)
    for item in range(1, 6):
        worker.submit(item)
    assert bench.dropped == [1, 2, 3]
    bench.gate.set()
    wait_for(lambda: worker.is_idle)
    assert bench.handled == [0, 4, 5]


def test_submitting_does_not_wait_for_the_handler(bench: Bench):
    worker = bench.worker(capacity=2)
    start = time.monotonic()
    for item in range(1000):
        worker.submit(item)
    assert time.monotonic() - start < 1.0
    bench.gate.set()
    wait_for(lambda: worker.is_idle)
    # All but the two that wait and the one in work are gone, none is lost without a word.
    assert len(bench.handled) + len(bench.dropped) == 1000
    assert bench.handled[-2:] == [998, 999]


def test_it_is_idle_only_when_nothing_waits_and_nothing_is_in_work(bench: Bench):
    worker = bench.worker(capacity=2)
    assert worker.is_idle
    worker.submit(1)
    assert not worker.is_idle
    assert bench.entered.wait(TIMEOUT_S)
    assert not worker.is_idle
    bench.gate.set()
    wait_for(lambda: worker.is_idle)
    assert bench.handled == [1]


def test_stop_finishes_the_item_in_work_and_leaves_the_rest(bench: Bench):
    worker = bench.worker(capacity=5)
    worker.submit(1)
    assert bench.entered.wait(TIMEOUT_S)
    worker.submit(2)
    threading.Timer(0.05, bench.gate.set).start()
    worker.stop()
    assert bench.handled == [1]
    worker.submit(3)
    worker.stop()
    assert bench.handled == [1] and worker.is_idle
    assert "bench" not in {thread.name for thread in threading.enumerate()}


def test_stop_can_finish_what_waits(bench: Bench):
    worker = bench.worker(capacity=5)
    for item in range(4):
        worker.submit(item)
    threading.Timer(0.05, bench.gate.set).start()
    worker.stop(finish=True)
    assert bench.handled == [0, 1, 2, 3] and not bench.dropped
    worker.submit(4)
    assert worker.is_idle and "bench" not in {thread.name for thread in threading.enumerate()}


def test_items_from_many_threads_all_arrive(bench: Bench):
    bench.gate.set()
    worker = bench.worker(capacity=10_000)
    threads = [
        threading.Thread(target=lambda start=start: [worker.submit(start + i) for i in range(200)])
        for start in range(0, 2000, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: worker.is_idle)
    assert sorted(bench.handled) == list(range(2000))
