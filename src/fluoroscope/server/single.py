"""A socket for one request: it brings the arguments, is told how it goes, then what came of it, and is closed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.websockets import WebSocket

from fluoroscope.errors import FluoroscopeError
from fluoroscope.server.answers import told
from fluoroscope.server.channel import Channel
from fluoroscope.server.halfway import Halfway
from fluoroscope.server.models import Models
from fluoroscope.server.wording import parsed

Work = Callable[[dict[str, Any], Channel], str]
"""Computes in a worker what is told last, from the arguments."""
QUESTION_SECONDS = 60.0
"""In which the arguments have to be there."""


async def serve(socket: WebSocket, models: Models, work: Work, *, progress: bool = True) -> None:
    """Serves the socket; whoever hangs up stops the work.

    Args:
        progress: whether to tell how far along it is, and what there is so far.
    """
    await socket.accept()
    channel = Channel()
    try:
        first = await asyncio.wait_for(socket.receive(), QUESTION_SECONDS)
    except TimeoutError:
        await socket.close(1008, "nothing was asked")
        return
    if first["type"] == "websocket.disconnect":
        return
    halfway = Halfway(channel, None, models.settings.max_bytes)

    def told_of(label: str, done: int, total: int | None) -> None:
        if progress:
            channel.tell({"type": "progress", "label": label, "done": done, "total": total})

    async def asked() -> None:
        try:
            arguments = parsed(first.get("text"))
            doing = partial(work, arguments, channel)
            if progress:
                answer = await models.desk.do(lambda: halfway.until(doing), told_of, watch=halfway)
            else:
                answer = await models.desk.do(doing, told_of)
            await channel.put(answer)
        except FluoroscopeError as error:
            socket.scope["entry"].facts["error"] = told(error)[1]["error"]
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
