"""One page and its socket: runs that it asks for, told as they go, each under the name that the page gave it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from fluoroscope import __version__, strict_json
from fluoroscope.errors import FluoroscopeError, nearest
from fluoroscope.server import frames, live
from fluoroscope.server.answers import Refused, told
from fluoroscope.server.channel import Channel
from fluoroscope.server.models import Models
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.result import Result
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
        self.traces: dict[str, Trace] = {}
        self._kinds: dict[str, Callable[[str, dict[str, Any]], Awaitable[None]]] = {
            "live": self._live, "run": self._run, "need": self._need, "model": self._model,
        }  # fmt: skip

    async def serve(self) -> None:
        """Reads what the page asks for and sends what it gets, until either ends; then every run is called off."""
        await self.socket.accept()
        self.channel.tell({"type": "hello", "protocol": PROTOCOL, "version": __version__})
        writing = asyncio.create_task(self.channel.pump(self.socket))
        try:
            await self._read()
        except WebSocketDisconnect:
            pass
        finally:
            self.channel.close()
            everything = [*self.tasks.values(), writing]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            try:
                self._take(parsed(message.get("text")))
            except FluoroscopeError as error:
                self.channel.tell({"type": "error", "run": None, **told(error)[1]})

    def _take(self, message: dict[str, Any]) -> None:
        kind, run = message.get("type"), message.get("run")
        if not isinstance(run, str) or not 0 < len(run) <= 64:
            raise Refused(400, "message", "a message without the name of its run", 'Send {"type": …, "run": "r1", …}.')
        if kind == "cancel":
            task = self.tasks.get(run)
            if task is not None:
                task.cancel()
            return
        if kind not in self._kinds:
            raise Refused(400, "message", f"there is no message {kind!r}", nearest(str(kind), [*self._kinds, "cancel"]))
        if run in self.tasks:
            raise Refused(409, "message", f"run {run!r} is under way already", "Give every run a name of its own.")
        if len(self.tasks) >= _RUNS:
            raise Refused(429, "busy", f"{_RUNS} runs of this page are under way", "Wait for one, or cancel it.")
        task = asyncio.create_task(self._told(kind, run, message))
        self.tasks[run] = task
        task.add_done_callback(lambda _: self.tasks.pop(run, None))

    async def _told(self, kind: str, run: str, message: dict[str, Any]) -> None:
        """Carries a run out, and says how it ended."""
        try:
            await self._kinds[kind](run, message)
        except asyncio.CancelledError:
            self._tell(run, {"type": "cancelled"})
            raise
        except FluoroscopeError as error:
            self._tell(run, {"type": "error", **told(error)[1]})
        except Exception as error:  # a defect of ours, which must not end the page's other runs
            self._tell(
                run, {"type": "error", "error": "defect", "message": f"{type(error).__name__}: {error}", "hint": ""}
            )
            raise

    def _tell(self, run: str, message: dict[str, Any]) -> None:
        if not self.channel.closed:
            self.channel.tell({**message, "run": run})

    def _progress(self, run: str) -> Callable[[str, int, int | None], None]:
        def progress(label: str, done: int, total: int | None) -> None:
            self._tell(run, {"type": "progress", "label": label, "done": done, "total": total})

        return progress

    async def _live(self, run: str, message: dict[str, Any]) -> None:
        prompt = _text(message, "prompt")

        def work() -> "Trace":
            model = self.models.ready()
            self.models.check_length(model, prompt)
            return live.run(
                model,
                prompt,
                lambda ids, labels: self.channel.emit({"type": "tokens", "run": run, "ids": ids, "labels": labels}),
                lambda header, pattern: self.channel.emit(live.framed({**header, "run": run}, pattern)),
            )

        trace = await self.models.desk.do(work, self._progress(run))
        self.traces = {run: trace}  # the last one only: the page asks for its patterns in full
        self._tell(run, {"type": "done"})

    async def _run(self, run: str, message: dict[str, Any]) -> None:
        name, arguments = _text(message, "analysis"), message.get("arguments", {})
        if not isinstance(arguments, dict):
            raise Refused(400, "message", "arguments are no object", 'Send {"prompt": "…"}.')
        result = await self.models.desk.do(lambda: self.models.run(name, arguments), self._progress(run))
        self._tell(run, {"type": "result", **shown(result)})

    async def _need(self, run: str, message: dict[str, Any]) -> None:
        """One head's whole pattern of the last live run."""
        trace = self.traces.get(_text(message, "of"))
        layer, head = message.get("layer"), message.get("head")
        if trace is None or not isinstance(layer, int) or not isinstance(head, int):
            raise Refused(409, "message", "that run is no longer kept", "Run it again.")
        pattern = trace[Site("pattern", layer, head)][0]
        header = {"v": 1, "type": "pattern", "run": run, "of": message["of"], "layer": layer, "head": head}
        message_bytes = frames.frame(header, pattern=pattern.float().cpu().numpy())
        await asyncio.get_running_loop().run_in_executor(None, self.channel.emit, message_bytes)

    async def _model(self, run: str, message: dict[str, Any]) -> None:
        await self.models.switch(_text(message, "name"), self._progress(run))
        self.traces.clear()
        self._tell(run, {"type": "done"})


def shown(result: "Result") -> dict[str, Any]:
    """A result as a page shows it: sentence, views, numbers, and how to ask again."""
    return {
        "title": result.title(),
        "summary": result.summary(),
        "views": [view.model_dump(mode="json") for view in result.views()],
        "result": json.loads(result.to_json()),
    }


def parsed(text: str | None) -> dict[str, Any]:
    """The object in a message.

    Raises:
        Refused: it is no text, no JSON or no object.
    """
    if text is None:
        raise Refused(400, "message", "a message that is no text", "Send JSON.")
    try:
        message = strict_json.load(text)
    except strict_json.NotJson as error:
        raise Refused(400, "message", f"no JSON: {error}", 'Send {"type": "run", …}.') from error
    if not isinstance(message, dict):
        raise Refused(400, "message", "JSON that is no object", 'Send {"type": "run", …}.')
    return message


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise Refused(400, "message", f"{name} is missing or no text", f'Send {{"{name}": "…", …}}.')
    return value


async def once(socket: WebSocket, models: Models, work: Callable[[dict[str, Any], Channel], dict[str, Any]]) -> None:
    """A socket for one request: it brings the arguments, is told how it goes, then what came of it, and is closed.

    Args:
        work: computes in a worker what is told last, from the arguments.
    """
    await socket.accept()
    first, channel = await socket.receive(), Channel()
    if first["type"] == "websocket.disconnect":
        return

    def told_of(label: str, done: int, total: int | None) -> None:
        channel.tell({"type": "progress", "label": label, "done": done, "total": total})

    async def asked() -> None:
        try:
            arguments = parsed(first.get("text"))
            channel.tell(await models.desk.do(lambda: work(arguments, channel), told_of))
        except FluoroscopeError as error:
            channel.tell({"type": "error", **told(error)[1]})
        channel.end()

    sending, reading, asking = (asyncio.create_task(part) for part in (channel.pump(socket), _hung_up(socket), asked()))
    try:
        await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            await socket.close()
    finally:
        channel.close()
        for task in (sending, reading, asking):
            task.cancel()
        await asyncio.gather(sending, reading, asking, return_exceptions=True)


async def _hung_up(socket: WebSocket) -> None:
    """Returns when the client is gone; what else it sends is not read."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
