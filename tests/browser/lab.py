"""The lab as someone who looks at it."""

import base64
import json
from urllib.parse import urlsplit

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

PROMPT = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
AIMS = {"target": " Mary", "foil": " John"}  # of that preset
FILLED = ("heads", "attention", "inspector", "depth", "next", "circuit", "lens", "flow")


class Lab:
    """One page; `faults` is what no page may do: errors, refused scripts and styles, requests to others."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.faults: list[str] = []
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("websocket", lambda socket: self._own(socket.url))
        page.context.route("**/*", self._route)

    def open(self, fragment: str = "") -> None:
        self.page.goto(self.address + fragment)
        self.page.wait_for_selector("#preset option[value=ioi]", state="attached")

    def _console(self, message) -> None:
        # Chromium without a GPU complains of each picture that it takes from its own software WebGL.
        ours = "WebSocket" not in message.text and "GPU stall due to ReadPixels" not in message.text
        if message.type in ("error", "warning") and ours:
            self.faults.append(f"{message.type}: {message.text}")

    def _own(self, url: str) -> bool:
        own = urlsplit(url).netloc == urlsplit(self.address).netloc or url.startswith(("data:", "blob:"))
        if not own:
            self.faults.append(f"a request to {url}")
        return own

    def _route(self, route: Route) -> None:
        if self._own(route.request.url):
            route.continue_()
        else:
            route.abort()

    def preset(self, name: str = "ioi") -> None:
        self.page.select_option("#preset", name)
        self.ready()

    def ready(self, *panels: str) -> None:
        """Waits until panels, by default those that fill by themselves, have their answers."""
        for panel in panels or ("next", "circuit", "lens", "flow"):
            self.see(panel)
            self.page.wait_for_selector(f'#{panel}[data-status="ready"]')

    def see(self, panel: str) -> None:
        """Brings a panel into sight, and waits for its program where that comes late."""
        self.page.evaluate("id => document.getElementById(id).scrollIntoView()", panel)
        self.page.wait_for_selector(f'#{panel}:not([data-status="later"])')

    def answered(self, panel: str, timeout: float | None = None) -> None:
        """Waits for the whole answer: what is there so far has a summary as well."""
        part = '[data-status="partial"]'
        self.page.wait_for_selector(f"#{panel}:not({part}):not(:has({part})) .summary", timeout=timeout)

    def ask(self, panel: str) -> None:
        """Presses the button of a panel that is asked by hand, and waits for its answer."""
        self.see(panel)
        self.page.click(f"#{panel} button.primary")
        self.answered(panel, timeout=60_000)

    def choose(self, layer: int, head: int) -> None:
        self.page.click(f'#heads [data-place="{layer}.{head}"]')
        expect(self.page.locator("#attention h2")).to_contain_text(f"L{layer}H{head}")

    def sweep(self) -> None:
        self.page.click("#patch button[type=submit]")
        self.answered("patch")

    def sweep_or_refusal(self) -> None:
        self.page.click("#patch button[type=submit]")
        self.page.wait_for_selector("#patch .summary, #patch [role=alert]")

    def dots(self, selector: str) -> np.ndarray:
        """What a canvas shows: rows, columns, channels."""
        raw, width, height = self.page.eval_on_selector(
            selector,
            """canvas => { const copy = document.createElement("canvas");
                 [copy.width, copy.height] = [canvas.width, canvas.height];
                 const context = copy.getContext("2d"); context.drawImage(canvas, 0, 0);
                 const bytes = context.getImageData(0, 0, copy.width, copy.height).data;
                 let text = "";
                 for (let at = 0; at < bytes.length; at += 8192)
                   text += String.fromCharCode(...bytes.subarray(at, at + 8192));
                 return [btoa(text), copy.width, copy.height]; }""",
        )
        return np.frombuffer(base64.b64decode(raw), np.uint8).reshape(height, width, 4)

    def heads(self) -> dict[str, np.ndarray]:
        """What the head map shows of each head, in its dots."""
        dots = self.dots("#heads .heads canvas")
        places = self.page.eval_on_selector_all(
            "#heads .thumbnail.there",
            """cells => { const box = document.querySelector("#heads .heads canvas").getBoundingClientRect();
                 return cells.map(cell => { const own = cell.getBoundingClientRect();
                   return [cell.dataset.place, own.left - box.left, own.top - box.top, own.width]; }); }""",
        )
        return {
            place: dots[round(top) : round(top + size), round(left) : round(left + size)]
            for place, left, top, size in places
        }

    def violations(self, within: str | None = None, rules: tuple[str, ...] | None = None) -> list[str]:
        """What axe finds on the page or a part of it, by all of its rules or some."""
        options = {"resultTypes": ["violations"]} | ({} if rules is None else {"runOnly": [*rules]})
        found = Axe().run(self.page, context=within, options=options).response["violations"]
        return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]

    def taken(self, panel: str) -> str:
        """The Python that a panel gives."""
        self.page.evaluate("navigator.clipboard.writeText('')")
        self.page.click(f"#{panel} .menu button:text-is('Python')")
        for _ in range(200):
            if text := self.page.evaluate("navigator.clipboard.readText()"):
                return text
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{panel} gave no Python")

    def numbers(self, panel: str) -> dict:
        """The JSON that a panel gives."""
        with self.page.expect_download() as saved:
            self.page.click(f"#{panel} .menu button:text-is('JSON')")
        return json.loads(saved.value.path().read_text(encoding="utf8"))

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


def plain(text: str) -> str:
    """Text of a page with its white space as in a sentence."""
    return " ".join(text.split())


def colours(dots: np.ndarray) -> int:
    """How many there are."""
    return len(np.unique(dots.reshape(-1, 4), axis=0))
