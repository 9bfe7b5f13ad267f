"""The application: its routes, made from the registry, behind the gate."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from fluoroscope import __version__
from fluoroscope.errors import FluoroscopeError
from fluoroscope.server import answers, circuit_trace, graphs, openapi, single, words
from fluoroscope.server.answers import Refused
from fluoroscope.server.channel import Channel
from fluoroscope.server.gate import Gate
from fluoroscope.server.journal import Entry
from fluoroscope.server.models import Models, found
from fluoroscope.server.runs import Runs
from fluoroscope.server.session import Session
from fluoroscope.server.settings import Settings
from fluoroscope.server.wording import parsed, read, shown, token_count, written

T = TypeVar("T")


def application(settings: Settings, once: str | None = None) -> Gate:
    """The server as an ASGI application.

    Args:
        once: a word that opens the page in place of the token, one time.
    """
    models = Models(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        loading = models.begin()
        yield
        models.desk.close()
        loading.cancel()

    handlers: dict[Any, Any] = {FluoroscopeError: _told, HTTPException: _nothing}
    return Gate(Starlette(routes=Routes(models).all(), lifespan=lifespan, exception_handlers=handlers), settings, once)


class Routes:
    """What each address answers.

    Args:
        models: what is asked.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.kept = Runs(models.settings)

    def all(self) -> list[Route | WebSocketRoute | Mount]:
        """Every address of the server."""
        return [
            Route("/api/health", self.health),
            Route("/api/ready", self.ready),
            Route("/api/model", self.model),
            Route("/api/model", self.switch, methods=["POST"]),
            Route("/api/analyses", self.analyses),
            Route("/api/analyses/{name}", self.analysis, methods=["POST"]),
            WebSocketRoute("/api/analyses/{name}", self.analysis_socket),
            WebSocketRoute("/api/session", self.session),
            *(Route(f"/api/graph/{form}", partial(self.graph, form), methods=["POST"]) for form in graphs.FORMS),
            Route("/api/runs", self.runs),
            Route("/api/runs", self.keep, methods=["POST"]),
            Route("/api/runs/{id}", self.run),
            Route("/api/presets", self.presets),
            Route("/api/word", self.word, methods=["POST"]),
            Route("/api/analyze", self.analyze, methods=["POST"]),
            Route("/api/patch", self.patch, methods=["POST"]),
            WebSocketRoute("/ws/analyze", self.analyze_socket),
            Route("/openapi.json", self.openapi),
            *_page(),
        ]

    async def health(self, request: Request) -> Response:
        loaded = self.models.loaded
        return JSONResponse(
            {
                "status": "ok", "version": __version__, "model": self.models.name, "ready": loaded is not None,
                "device": None if loaded is None else str(loaded.device), "waiting": self.models.desk.length,
            }
        )  # fmt: skip

    async def ready(self, request: Request) -> Response:
        if self.models.loaded is not None:
            return JSONResponse({"ready": True})
        trouble = self.models.trouble or Refused(503, "loading", "the model is being loaded", "Ask again in a moment.")
        return JSONResponse({"ready": False, **answers.told(trouble)[1]}, status_code=503)

    async def model(self, request: Request) -> Response:
        model = await self.models.arrived()
        about = await asyncio.to_thread(model.summary)
        return JSONResponse({"name": self.models.name, "choices": self.models.choices, "about": about})

    async def switch(self, request: Request) -> Response:
        wanted = read(openapi.ModelRequest, await _object(request))
        await self._while_there(request, self.models.switch(wanted.name))
        return await self.model(request)

    async def analyses(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(openapi.catalogue), media_type="application/json")

    async def analysis(self, request: Request) -> Response:
        arguments, name = await _object(request), request.path_params["name"]
        return await self._do(request, lambda: self._run(name, arguments, request.scope["entry"]))

    def _run(self, name: str, arguments: dict[str, Any], entry: Entry) -> dict[str, Any]:
        spec = found(name)
        entry.facts["analysis"] = None if spec is None else spec.name
        result = self.models.run(name, arguments)
        entry.facts["tokens"] = token_count(result)
        return shown(result)

    async def analysis_socket(self, socket: WebSocket) -> None:
        name = socket.path_params["name"]

        def work(arguments: dict[str, Any], _: Channel) -> str:
            return self._written({"type": "result", **self._run(name, arguments, socket.scope["entry"])})

        await single.serve(socket, self.models, work)

    async def session(self, socket: WebSocket) -> None:
        await Session(socket, self.models).serve()

    async def graph(self, form: str, request: Request) -> Response:
        given = await _object(request)
        return JSONResponse({"text": await asyncio.to_thread(graphs.source, form, given)})

    async def runs(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self.kept.listed))

    async def run(self, request: Request) -> Response:
        def work() -> str:
            return self._written(shown(self.kept.open(request.path_params["id"])))

        return Response(await asyncio.to_thread(work), media_type="application/json")

    async def keep(self, request: Request) -> Response:
        given = await _object(request)
        return JSONResponse(await asyncio.to_thread(self.kept.keep, given))

    async def presets(self, request: Request) -> Response:
        return JSONResponse([preset.model_dump() for preset in circuit_trace.PRESETS])

    async def word(self, request: Request) -> Response:
        asked, model = read(words.WordRequest, await _object(request)), await self.models.arrived()
        return JSONResponse((await asyncio.to_thread(words.word, model, asked.text)).model_dump())

    async def analyze(self, request: Request) -> Response:
        arguments = await _object(request)
        return await self._do(request, lambda: self._analyzed(arguments, request.scope["entry"]))

    def _analyzed(
        self, arguments: dict[str, Any], entry: Entry, tell: Callable[[dict[str, Any]], None] = lambda message: None
    ) -> dict[str, Any]:
        asked, model = read(circuit_trace.AnalyzeRequest, arguments), self.models.ready()
        self.models.check_length(model, asked.prompt)
        if asked.attention:
            circuit_trace.check_size(model, asked.prompt, self.models.settings.max_bytes)
        found = circuit_trace.analyze(model, asked, tell)
        entry.facts["tokens"] = len(found["tokens"])
        return found

    async def patch(self, request: Request) -> Response:
        asked = read(circuit_trace.PatchRequest, await _object(request))

        def work() -> dict[str, Any]:
            model = self.models.ready()
            for text in (asked.clean, asked.corrupted):
                self.models.check_length(model, text)
            found = circuit_trace.patch(model, asked)
            request.scope["entry"].facts["tokens"] = len(found["clean_tokens"]) + len(found["corrupted_tokens"])
            return found

        return await self._do(request, work)

    async def analyze_socket(self, socket: WebSocket) -> None:
        def work(arguments: dict[str, Any], channel: Channel) -> str:
            def tell(message: dict[str, Any]) -> None:
                channel.emit(self._written(message))

            return self._written({"type": "done", "result": self._analyzed(arguments, socket.scope["entry"], tell)})

        await single.serve(socket, self.models, work, progress=False)

    async def openapi(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(openapi.document), media_type="application/json")

    def _written(self, message: dict[str, Any]) -> str:
        return written(message, self.models.settings.max_bytes)

    async def _do(self, request: Request, work: Callable[[], dict[str, Any]]) -> Response:
        """The answer, computed and written by a worker."""
        text = await self._while_there(request, self.models.desk.do(lambda: self._written(work())))
        return Response(text, media_type="application/json")

    async def _while_there(self, request: Request, work: Awaitable[T]) -> T:
        """What the work gives; it is called off when the one who asked hangs up."""
        doing, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise Refused(499, "gone", "the one who asked hung up")
            return doing.result()
        finally:
            for task in (doing, gone):
                task.cancel()
            await asyncio.gather(doing, gone, return_exceptions=True)


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings.

    Raises:
        Refused: it brings something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a form of another site cannot send
        raise Refused(415, "content", f"content of type {kind or 'unknown'}", "Send application/json.")
    try:
        return parsed(await request.body())
    except ClientDisconnect as error:
        raise Refused(413, "content", "the request is too long, or was cut off", "Send less at once.") from error


async def _gone(request: Request) -> None:
    """Returns when the client hangs up; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _told(request: Request, error: FluoroscopeError) -> Response:
    request.scope["entry"].facts["error"] = answers.told(error)[1]["error"]
    return answers.response(error)


async def _nothing(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        error.detail = "there is nothing here"
    content = {"error": "address", "message": error.detail, "hint": "GET /openapi.json lists what there is."}
    return JSONResponse(content, status_code=error.status_code, headers=error.headers)


def _page() -> list[Mount | Route]:
    """The lab's page, if the package holds it; else what to do for it."""
    folder = files("fluoroscope.server") / "static"
    if (folder / "index.html").is_file():
        return [Mount("/", StaticFiles(directory=str(folder), html=True))]

    async def missing(request: Request) -> Response:
        return answers.response(
            Refused(
                503, "page", "this installation holds no page",
                "Install it again where npm can be reached, or without FLUOROSCOPE_WEB=skip; /api works without it.",
            )
        )  # fmt: skip

    return [Route("/", missing)]
