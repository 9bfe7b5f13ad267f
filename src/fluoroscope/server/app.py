"""The application: its routes, made from the registry, behind the gate."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from fluoroscope import __version__
from fluoroscope.errors import FluoroscopeError
from fluoroscope.server import answers, circuit_trace, openapi
from fluoroscope.server.answers import Refused
from fluoroscope.server.channel import Channel
from fluoroscope.server.gate import App, Gate
from fluoroscope.server.models import Models
from fluoroscope.server.session import Session, once, parsed, shown
from fluoroscope.server.settings import Settings

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)


def application(settings: Settings) -> App:
    """The server as an ASGI application."""
    models = Models(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        loading = asyncio.create_task(models.desk.do(models.ready))
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # told by /api/ready
        yield
        loading.cancel()

    routes = Routes(models)
    app = Starlette(routes=routes.all(), lifespan=lifespan, exception_handlers={FluoroscopeError: _told, 404: _nothing})
    return Gate(app, settings)


class Routes:
    """What each address answers.

    Args:
        models: what is asked.
    """

    def __init__(self, models: Models) -> None:
        self.models = models

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
            Route("/api/presets", self.presets),
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
        loaded = self.models.loaded is not None
        return JSONResponse({"ready": loaded}, status_code=200 if loaded else 503)

    async def model(self, request: Request) -> Response:
        model = await self._do(request, self.models.ready)
        return JSONResponse({"name": self.models.name, "choices": self.models.choices, "about": model.summary()})

    async def switch(self, request: Request) -> Response:
        wanted = await _object(request)
        await self._while_there(request, self.models.switch(str(wanted.get("name"))))
        return await self.model(request)

    async def analyses(self, request: Request) -> Response:
        return JSONResponse(openapi.catalogue())

    async def analysis(self, request: Request) -> Response:
        arguments = await _object(request)
        name = request.path_params["name"]
        result = await self._do(request, lambda: self.models.run(name, arguments))
        return JSONResponse(shown(result))

    async def analysis_socket(self, socket: WebSocket) -> None:
        name = socket.path_params["name"]
        await once(
            socket, self.models, lambda arguments, _: {"type": "result", **shown(self.models.run(name, arguments))}
        )

    async def session(self, socket: WebSocket) -> None:
        await Session(socket, self.models).serve()

    async def presets(self, request: Request) -> Response:
        return JSONResponse([preset.model_dump() for preset in circuit_trace.PRESETS])

    async def analyze(self, request: Request) -> Response:
        arguments = await _object(request)
        return JSONResponse(await self._do(request, lambda: self._analyzed(arguments)))

    def _analyzed(
        self, arguments: dict[str, Any], tell: Callable[[dict[str, Any]], None] = lambda message: None
    ) -> dict[str, Any]:
        asked, model = _read(circuit_trace.AnalyzeRequest, arguments), self.models.ready()
        self.models.check_length(model, asked.prompt)
        return circuit_trace.analyze(model, asked, tell)

    async def patch(self, request: Request) -> Response:
        asked = _read(circuit_trace.PatchRequest, await _object(request))

        def work() -> dict[str, Any]:
            model = self.models.ready()
            for text in (asked.clean, asked.corrupted):
                self.models.check_length(model, text)
            return circuit_trace.patch(model, asked)

        return JSONResponse(await self._do(request, work))

    async def analyze_socket(self, socket: WebSocket) -> None:
        def work(arguments: dict[str, Any], channel: Channel) -> dict[str, Any]:
            return {"type": "done", "result": self._analyzed(arguments, channel.emit)}

        await once(socket, self.models, work)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.document())

    async def _do(self, request: Request, work: Callable[[], T]) -> T:
        return await self._while_there(request, self.models.desk.do(work))

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
        text = (await request.body()).decode("utf8")
    except ClientDisconnect as error:
        raise Refused(413, "content", "the request is too long, or was cut off", "Send less at once.") from error
    except UnicodeDecodeError as error:
        raise Refused(400, "content", "the request is no UTF-8", "Send JSON.") from error
    return parsed(text)


def _read(kind: type[B], arguments: dict[str, Any]) -> B:
    try:
        return kind.model_validate(arguments, strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise Refused(422, "argument", wrong, f"Fields: {', '.join(kind.model_fields)}.") from error


async def _gone(request: Request) -> None:
    """Returns when the client hangs up; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, FluoroscopeError)
    return answers.response(error)


async def _nothing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "missing", "message": "there is nothing here", "hint": ""}, status_code=404)


def _page() -> list[Mount | Route]:
    """The lab's page, if the package holds it; else what to do for it."""
    folder = files("fluoroscope.server") / "static"
    if (folder / "index.html").is_file():
        return [Mount("/", StaticFiles(directory=str(folder), html=True))]

    async def missing(request: Request) -> Response:
        return JSONResponse(
            {
                "error": "page", "message": "this installation holds no page",
                "hint": "Install it again where npm can be reached, or without FLUOROSCOPE_WEB=skip.",
            },
            status_code=503,
        )  # fmt: skip

    return [Route("/", missing)]
