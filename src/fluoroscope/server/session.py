"""One page and its socket: runs that it asks for, told as they go, each under the name that the page gave it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket

from fluoroscope import __version__
from fluoroscope.errors import FluoroscopeError
from fluoroscope.server import frames, journal, live, messages
from fluoroscope.server.answers import Refused, told, unforeseen
from fluoroscope.server.channel import Channel
from fluoroscope.server.halfway import Halfway
from fluoroscope.server.models import Models, found
from fluoroscope.server.wording import parsed, read, shown, token_count, written
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.trace import Trace

PROTOCOL = 1
_RUNS = 16
"""Most runs of one page at a time."""


class Session:
    """Serves one socket until it closes.

    Args:
        socket: not accepted yet.
        models: what is asked.
    """

    def __init__(self, socket: WebSocket, models: Models) -> None:
        self.socket, self.models = socket, models
        self.channel = Channel()
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Reads what the page asks for and sends what it gets, until either ends; then every run is called off."""
        await self.socket.accept()
        self.channel.tell({"type": "hello", "protocol": PROTOCOL, "version": __version__})
        parts = [asyncio.create_task(part) for part in (self._read(), self.channel.pump(self.socket))]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.channel.close()
            self.models.kept.drop(self)
            everything = [*self.tasks.values(), *parts]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            await self.channel.rest()  # a page that does not read its answers is not asked for more questions
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            given: dict[str, Any] = {}
            try:
                given = parsed(message.get("text"))
                self._take(read(messages.FromPage, given, status=400))
                await asyncio.sleep(0)  # a run has begun before it can be called off, so that it says how it ended
            except FluoroscopeError as error:
                self.channel.tell({"type": "error", "run": self._free(given.get("run")), **told(error)[1]})

    def _free(self, run: object) -> str | None:
        """The name of a run that is not under way, if it can be one."""
        return run if isinstance(run, str) and 0 < len(run) <= 64 and run not in self.tasks else None

    def _take(self, asked: Any) -> None:
        if isinstance(asked, messages.AskStop):
            if asked.run in self.tasks:
                self.tasks[asked.run].cancel()
            return
        if asked.run in self.tasks:
            raise Refused(409, "message", f"run {asked.run!r} is under way", "Give every run a name of its own.")
        if len(self.tasks) >= _RUNS:
            raise Refused(429, "busy", f"{_RUNS} runs of this page are under way", "Wait for one, or cancel it.")
        answers: dict[type, Callable[[Any, journal.Entry], Awaitable[None]]] = {
            messages.AskLive: self._live, messages.AskRun: self._run,
            messages.AskPattern: self._pattern, messages.AskModel: self._model,
        }  # fmt: skip
        task = asyncio.create_task(self._told(asked, answers[type(asked)]))
        self.tasks[asked.run] = task
        task.add_done_callback(lambda _: self.tasks.pop(asked.run, None))

    async def _told(self, asked: Any, answer: Callable[[Any, journal.Entry], Awaitable[None]]) -> None:
        """Carries a run out, and says how it ended."""
        entry, ended = journal.Entry(f"socket {asked.type}"), "done"
        try:
            await answer(asked, entry)
        except asyncio.CancelledError:
            ended = "cancelled"
            self.channel.tell({"type": "cancelled", "run": asked.run})
        except FluoroscopeError as error:
            ended = told(error)[1]["error"]
            self.channel.tell({"type": "error", "run": asked.run, **told(error)[1]})
        except Exception as error:  # a defect of ours, which must not end the page's other runs
            ended = "defect"
            journal.defect(error)
            self.channel.tell({"type": "error", "run": asked.run, **told(unforeseen(error))[1]})
        finally:
            entry.close(ended)

    def _progress(self, run: str) -> Callable[[str, int, int | None], None]:
        def progress(label: str, done: int, total: int | None) -> None:
            self.channel.tell({"type": "progress", "run": run, "label": label, "done": done, "total": total})

        return progress

    async def _live(self, asked: messages.AskLive, entry: journal.Entry) -> None:
        run, channel = asked.run, self.channel

        def begun(ids: list[int], labels: list[str]) -> None:
            entry.facts["tokens"] = len(ids)
            name = asked.model or self.models.name
            channel.emit({"type": "tokens", "run": run, "model": name, "ids": ids, "labels": labels})

        def work() -> "Trace":
            model = self.models.ready(asked.model)
            self.models.check_length(model, asked.prompt)
            return live.run(
                model,
                asked.prompt,
                begun,
                lambda told, pattern: channel.emit(live.framed({**told, "run": run}, pattern)),
            )

        trace = await self.models.desk.do(work, self._progress(run))
        self.models.kept.put(self, run, trace, asked.beside)
        await channel.put({"type": "done", "run": run})

    async def _run(self, asked: messages.AskRun, entry: journal.Entry) -> None:
        spec = found(asked.analysis)
        entry.facts["analysis"] = None if spec is None else spec.name

        most = self.models.settings.max_bytes
        halfway = Halfway(self.channel, asked.run, most)

        def work() -> str:
            result = halfway.until(lambda: self.models.run(asked.analysis, asked.arguments, asked.model))
            entry.facts["tokens"] = token_count(result)
            return written({"type": "result", "run": asked.run, **shown(result)}, most)

        await self.channel.put(await self.models.desk.do(work, self._progress(asked.run), watch=halfway))

    async def _pattern(self, asked: messages.AskPattern, entry: journal.Entry) -> None:
        """One head's whole pattern of the last live run, at once: nothing is computed."""
        trace = self.models.kept.get(self, asked.of)
        if trace is None:
            raise Refused(409, "message", "that run is no longer kept", "Run it again.")
        pattern = trace[Site("pattern", asked.layer, asked.head)][0].float().cpu().numpy()
        header = {"v": 1, "type": "pattern", "run": asked.run, "of": asked.of, "layer": asked.layer, "head": asked.head}
        await self.channel.put(frames.frame(header, pattern=pattern))

    async def _model(self, asked: messages.AskModel, entry: journal.Entry) -> None:
        await self.models.switch(asked.name, self._progress(asked.run))
        await self.channel.put({"type": "done", "run": asked.run})
