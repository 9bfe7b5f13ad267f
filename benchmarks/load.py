"""The lab under load: many clients against one, more than fit, and clients that leave at any moment.

`python benchmarks/load.py` prints it whole and writes results/load.md; the tests of the server run the same in small.
"""

import asyncio
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PROMPTS = [
    "Once upon a time there was a little girl named Lily", "The old dog sat by the door and",
    "When Mary and John went to the store, John gave a drink to", "Tom had a red ball. He",
]  # fmt: skip
PAIR = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)
BUDGETS = {"health, p99, ms": 100, "memory, rise, %": 20}
TIMES = 10
"""How many clients there are for each that fits."""
ROUNDS = 5

Question = dict[str, Any]
"""What a page asks of its socket, but for the name of the run."""


def main() -> int:
    """Prints the table; 1 if anything is wrong or a budget is broken."""
    found = Said()
    with serving() as (process, port):
        wrong, told = asyncio.run(alike(port, questions(PROMPTS, PAIR, "z.3.1"), clients=8, total=500))
        found["answers alike"] = f"{told - wrong} of {told}"
        before = rss(process.pid)
        rounds = [asyncio.run(flood(port, 33 * TIMES, 5.0)) for _ in range(ROUNDS)]
        found["health, p99, ms"] = statistics.median(round(1000 * p99(one["waits"]), 1) for one in rounds)
        found["memory, rise, %"] = round(100 * (rss(process.pid) / before - 1), 1)
        statuses = sum((one["statuses"] for one in rounds), Counter[int]())
        found["statuses"] = dict(statuses)
        unclean = sum(one["unclean"] for one in rounds)
        rude = asyncio.run(flood(port, 33 * TIMES, 5.0, heed=False))
        found["health, p99, ms, of clients that ask again at once"] = round(1000 * p99(rude["waits"]), 1)
        stuck = asyncio.run(cancels(port, 500, PROMPTS[2]))
        found["called off"] = dict(stuck.pop("ways"))
        for name, value in stuck.items():
            found[name] = value
    broken = [name for name, most in BUDGETS.items() if found[name] > most]
    bad = wrong or unclean or set(statuses) - {200, 429, 503} or found["waiting at the end"]
    lines = [
        "# The lab under load",
        "",
        "`python benchmarks/load.py`",
        "",
        "| what | measured | budget |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {value} | {f'≤ {BUDGETS[name]}' if name in BUDGETS else ''} |" for name, value in found.items()
    ]
    (Path(__file__).parent / "results" / "load.md").write_text("\n".join([*lines, ""]), encoding="utf8")
    print(f"broken: {', '.join(broken) or 'no budget'}; {'something is wrong' if bad else 'nothing is wrong'}")
    return int(bool(broken or bad))


class Said(dict[str, Any]):
    """What is found, printed at once."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        print(f"{name:60} {value}", flush=True)


def questions(prompts: list[str], pair: tuple[str, str], head: str) -> list[Question]:
    """Of other prompts, edits and kinds, none the same as another."""
    clean, corrupted = pair
    asked = [
        *(("next-token", {"prompt": text}) for text in prompts),
        *(("ablation", {"prompt": text, "sites": [head]}) for text in prompts[:2]),
        *(("ablation", {"prompt": prompts[0], "sites": [f"{name}.0"]}) for name in ("mlp_out", "attn_out")),
        ("head-patching", {"clean": clean, "corrupted": corrupted, "metric": "logit"}),
        ("head-patching", {"clean": corrupted, "corrupted": clean, "metric": "logit"}),
        ("logit-lens", {"prompt": prompts[1]}), ("attention-patterns", {"prompt": prompts[0]}),
        ("logit-attribution", {"prompt": prompts[3]}),
    ]  # fmt: skip
    runs = [{"type": "run", "analysis": name, "arguments": arguments} for name, arguments in asked]
    return runs + [{"type": "live", "prompt": text} for text in (*prompts, clean)]


# ── the same answers ───────────────────────────────────────────────────────────────────────────────


async def alike(port: int, asked: list[Question], clients: int, total: int) -> tuple[int, int]:
    """How many answers of many clients at once were other than those to one alone, and how many there were."""
    async with session(port) as page:
        alone = [await answer(page, question) for question in asked]
    failed = [told[-1] for told in alone if isinstance(told[-1], bytes) or '"type": "error"' in told[-1]]
    assert not failed, failed
    wrong: list[int] = []
    each = -(-total // clients)

    async def client(seed: int) -> None:
        rng = random.Random(seed)
        async with session(port) as page:
            for _ in range(each):
                place = rng.randrange(len(asked))
                if await answer(page, asked[place]) != alone[place]:
                    wrong.append(place)

    await asyncio.gather(*map(client, range(clients)))
    return len(wrong), each * clients


def session(port: int) -> connect:
    """A page's socket."""
    return connect(f"ws://127.0.0.1:{port}/api/session", compression=None, max_size=None, open_timeout=60)


async def answer(page: ClientConnection, question: Question) -> list[str | bytes]:
    """Every word of the answer but how far along it was, and what was known by then."""
    await page.send(json.dumps({**question, "run": "r"}))
    told: list[str | bytes] = []
    while True:
        message = await page.recv()
        if isinstance(message, bytes):
            told.append(message)
            continue
        kind = json.loads(message)["type"]
        if kind not in ("progress", "partial", "hello"):  # of which the newest alone is told
            told.append(message)
        if kind in ("result", "done", "error", "cancelled"):
            return told


# ── more than fit ──────────────────────────────────────────────────────────────────────────────────


async def flood(port: int, clients: int, seconds: float, *, heed: bool = True) -> dict[str, Any]:
    """Statuses of many clients, refusals without a hint, and how long each look at the health of the server took.

    Args:
        heed: whether those who are refused wait for as long as they are told.
    """
    end = time.monotonic() + seconds
    body = json.dumps({"prompt": "abc"}).encode()
    post = b"POST /api/analyses/next-token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    found = {"statuses": Counter[int](), "unclean": 0, "waits": []}

    async def client(number: int) -> None:
        await asyncio.sleep(random.Random(number).random())  # nobody's clock is another's
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            writer.write(post + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            status, headers, told = await received(reader)
            found["statuses"][status] += 1
            if status != 200:
                found["unclean"] += not json.loads(told)["hint"] or "retry-after" not in headers
                await asyncio.sleep(float(headers.get("retry-after", 0)) if heed else 0)
        writer.close()

    async def health() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            start = time.perf_counter()
            writer.write(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await received(reader))[0] == 200
            found["waits"].append(time.perf_counter() - start)
            await asyncio.sleep(0.01)
        writer.close()

    await asyncio.gather(health(), *map(client, range(clients)))
    return found


async def received(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def p99(waits: list[float]) -> float:
    """What all but one of a hundred are below."""
    return statistics.quantiles(waits, n=100)[98]


# ── called off ─────────────────────────────────────────────────────────────────────────────────────


async def cancels(port: int, count: int, prompt: str, seed: int = 0) -> dict[str, Any]:
    """Runs called off in every way; how long the model was held after each, at most, and what is left at the end."""
    rng, ways, held = random.Random(seed), Counter[str](), []
    async with session(port) as probe:
        alone = await answer(probe, {"type": "live", "prompt": prompt})
        start = time.perf_counter()
        await answer(probe, {"type": "live", "prompt": prompt})
        usual = time.perf_counter() - start
        for way in itertools.islice(itertools.cycle(WAYS), count):
            await WAYS[way](port, prompt, rng.random() * usual)
            ways[way] += 1
            start = time.perf_counter()
            assert await answer(probe, {"type": "live", "prompt": prompt}) == alone, f"another answer after {way}"
            held.append(time.perf_counter() - start)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    waiting = json.loads((await received(reader))[2])["waiting"]
    writer.close()
    told = {
        "a run, ms": usual,
        "the next run, median, ms": statistics.median(held),
        "the next run, at most, ms": max(held),
    }
    return {
        "ways": ways,
        **{name: round(1000 * value, 1) for name, value in told.items()},
        "waiting at the end": waiting,
    }


async def _ended(page: ClientConnection, *runs: str) -> None:
    """Waits until each of the runs has said how it ended."""
    left = set(runs)
    while left:
        message = await page.recv()
        told = json.loads(message) if isinstance(message, str) else {}
        if told.get("type") in ("done", "cancelled", "error", "result"):
            left.discard(told["run"])


async def _called_off(port: int, prompt: str, after: float) -> None:
    """While it runs, or at once, when `after` is 0."""
    async with session(port) as page:
        await page.send(json.dumps({"type": "live", "run": "r", "prompt": prompt}))
        await asyncio.sleep(after)
        await page.send('{"type": "cancel", "run": "r"}')
        await _ended(page, "r")


async def _before(port: int, prompt: str, after: float) -> None:
    await _called_off(port, prompt, 0)


async def _queued(port: int, prompt: str, after: float) -> None:
    """Several wait; the last ones are called off first."""
    runs = [f"r{number}" for number in range(4)]
    async with session(port) as page:
        for run in runs:
            await page.send(json.dumps({"type": "live", "run": run, "prompt": prompt}))
        for run in reversed(runs):
            await page.send(json.dumps({"type": "cancel", "run": run}))
        await _ended(page, *runs)


async def _gone(port: int, prompt: str, after: float) -> None:
    """The page closes with runs under way and waiting."""
    async with session(port) as page:
        for run in ("r0", "r1"):
            await page.send(json.dumps({"type": "live", "run": run, "prompt": prompt}))
        await asyncio.sleep(after)


async def _cut(port: int, prompt: str, after: float) -> None:
    """The line is cut without a word."""
    page = await session(port)
    await page.send(json.dumps({"type": "live", "run": "r", "prompt": prompt}))
    await asyncio.sleep(after)
    page.transport.abort()


async def _hung_up(port: int, prompt: str, after: float, sent: float = 1.0) -> None:
    """A request over HTTP whose client leaves."""
    body = json.dumps({"prompt": prompt}).encode()
    head = "POST /api/analyses/next-token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: int(sent * len(body))])
    await asyncio.sleep(after)
    writer.transport.abort()


async def _uploading(port: int, prompt: str, after: float) -> None:
    """The same in the middle of its body."""
    await _hung_up(port, prompt, after, sent=0.5)


WAYS = {"before": _before, "queued": _queued, "running": _called_off, "closed": _gone, "cut": _cut, "http": _hung_up,
        "uploading": _uploading}  # fmt: skip


# ── the server ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving() -> Any:
    """A lab in a process of its own, and its port."""
    command = [sys.executable, "-m", "fluoroscope", "lab", "--port", "0"]
    told = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=told) as process:
        assert process.stdout is not None
        port = re.search(r":(\d+)/", process.stdout.readline())
        assert port, "the lab does not start"
        try:
            yield process, int(port[1])
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def rss(process: int) -> int:
    """Kilobytes that a process holds."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf8")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0])


if __name__ == "__main__":
    raise SystemExit(main())
