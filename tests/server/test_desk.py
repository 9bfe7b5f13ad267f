"""One at a time, in order, told their place, stopped when called off."""

import asyncio
import threading
import time

import pytest

from fluoroscope.errors import Cancelled, TokenError
from fluoroscope.progress import report, track
from fluoroscope.server import journal
from fluoroscope.server.answers import Refused
from fluoroscope.server.desk import Desk


def held(started: threading.Event, go: threading.Event):
    def work():
        started.set()
        assert go.wait(10)
        report("held", 0)
        return "done"

    return work


async def until(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


def run(test):
    """Runs an async test, bounded in time."""
    asyncio.run(asyncio.wait_for(test(), 20))


def test_requests_run_one_at_a_time_in_order_and_know_their_place():
    async def test():
        desk, running, order, told = Desk(8, 60), [], [], {n: [] for n in range(4)}

        def work(number):
            def compute():
                running.append(number)
                assert len(running) == 1
                time.sleep(0.01)
                running.remove(number)
                order.append(number)
                return number

            return compute

        def tell(number):
            return lambda label, done, total: told[number].append((label, done))

        tasks = [asyncio.create_task(desk.do(work(n), tell(n))) for n in range(4)]
        await asyncio.sleep(0)
        assert desk.length == 4
        assert await asyncio.gather(*tasks) == order == [0, 1, 2, 3]
        assert told[3] == [("queued", 3), ("queued", 2), ("queued", 1)]
        assert told[0] == []
        assert desk.length == 0

    run(test)


def test_too_many_are_refused_at_once():
    async def test():
        desk, started, go = Desk(2, 60), threading.Event(), threading.Event()
        tasks = [asyncio.create_task(desk.do(held(started, go))) for _ in range(3)]
        await until(started.is_set)
        with pytest.raises(Refused, match="2 requests wait") as refused:
            await desk.do(lambda: None)
        assert refused.value.status == 429
        go.set()
        assert await asyncio.gather(*tasks) == ["done"] * 3

    run(test)


def test_whoever_waits_may_leave_and_the_others_move_up():
    async def test():
        desk, started, go, told = Desk(8, 60), threading.Event(), threading.Event(), []
        first = asyncio.create_task(desk.do(held(started, go)))
        second = asyncio.create_task(desk.do(lambda: 2))
        third = asyncio.create_task(desk.do(lambda: 3, lambda label, done, total: told.append(done)))
        await until(started.is_set)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert told == [2, 1]
        go.set()
        assert await asyncio.gather(first, third) == ["done", 3]

    run(test)


def test_one_whose_turn_comes_as_it_leaves_lets_the_next_one_in():
    async def test():
        desk, started, go = Desk(8, 60), threading.Event(), threading.Event()
        first = asyncio.create_task(desk.do(held(started, go)))
        second, third = (asyncio.create_task(desk.do(lambda n=n: n)) for n in (2, 3))
        await until(started.is_set)
        go.set()
        await first
        second.cancel()  # its event is set, and it has not gone on yet
        assert (await asyncio.gather(second, third, return_exceptions=True))[1] == 3
        assert desk.length == 0

    run(test)


def test_cancelling_stops_the_work_and_the_model_is_not_free_before_it_has_stopped():
    async def test():
        desk, started, go, stopped = Desk(8, 60), threading.Event(), threading.Event(), threading.Event()

        def work():
            try:
                held(started, go)()
            except Cancelled:
                time.sleep(0.05)
                stopped.set()
                raise

        first = asyncio.create_task(desk.do(work))
        await until(started.is_set)
        second = asyncio.create_task(desk.do(stopped.is_set))
        for _ in range(3):  # more than once: as when a page calls off, and then closes
            first.cancel()
            await asyncio.sleep(0.01)
        assert not first.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second is True

    run(test)


def test_what_takes_too_long_is_stopped_but_for_what_may():
    async def test():
        desk = Desk(8, 0.02)

        def work():
            for _ in track(range(100), "slow"):
                time.sleep(0.005)
            return "done"

        with pytest.raises(Refused, match=r"stopped after 0.02 s") as refused:
            await desk.do(work)
        assert refused.value.status == 504
        assert await desk.do(lambda: (time.sleep(0.04), report("late", 1))[1], timed=False) is None

    run(test)


class Panic(BaseException):
    """As of a tokenizer written in Rust."""


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (MemoryError("secret words"), 503, "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: secret words"), 503, "memory"),
        (RuntimeError("CUDA out of memory. secret words"), 503, "memory"),
        (KeyError("secret words"), 500, "defect"),
        (Panic("secret words"), 500, "defect"),
        (StopIteration("secret words"), 500, "defect"),
    ],
)
def test_a_failure_is_an_answer_and_the_desk_goes_on(error, status, name, caplog):
    async def test():
        def work():
            raise error

        desk = Desk(8, 60)
        with pytest.raises(Refused) as refused:
            await desk.do(work)
        assert (refused.value.status, refused.value.name) == (status, name)
        assert await desk.do(lambda: "next") == "next"

    with caplog.at_level("INFO", logger=journal.LOG.name):
        run(test)
    assert "secret" not in caplog.text
    assert type(error).__name__ in caplog.text
    assert __file__ in caplog.text


def test_errors_of_ours_come_as_they_are():
    async def test():
        def work():
            raise TokenError("no prompt")

        with pytest.raises(TokenError, match="no prompt"):
            await Desk(8, 60).do(work)

    run(test)


def test_a_closed_desk_waits_for_nothing():
    async def test():
        desk, started, go = Desk(8, 60), threading.Event(), threading.Event()
        task = asyncio.create_task(desk.do(held(started, go)))
        await until(started.is_set)
        desk.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()

    run(test)
