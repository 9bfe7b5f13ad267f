"""Takes the pictures of the lab that docs/lab.md shows, in Chromium: `python docs/pictures.py [FOLDER]`.

The wide ones are 1440 x 900, those of a phone 390 x 844; `--whole` takes all of the page instead, for a critical look.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "images"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
ASKED = ("patch", "paths", "circuits")
"""Panels that answer when their button is pressed."""
SHOWN = {"why": "dark", "change": "light", "steps": "dark"}
"""Chapters that have a picture besides the first screen, and its theme."""


def main(arguments: list[str]) -> None:
    """Takes them all."""
    whole = "--whole" in arguments
    folder = next((Path(each) for each in arguments if each != "--whole"), FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fluoroscope", "lab", "--port", "0"]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found, "the lab does not start"
            with sync_playwright() as started:
                options = ["--no-sandbox", "--enable-unsafe-swiftshader"]
                browser = started.chromium.launch(executable_path=chromium, args=options)
                for name, size in (("lab", WIDE), ("phone", PHONE)):
                    for theme in ("dark", "light"):
                        page = browser.new_page(viewport=size, color_scheme=theme, reduced_motion="reduce")
                        _fill(page, found[0])
                        _take(page, folder, f"{name}-{theme}", theme if size is WIDE else None, whole=whole)
                        page.close()
        finally:
            server.terminate()


def _fill(page: Page, address: str) -> None:
    """The preset of the indirect object, its head chosen, every panel asked."""
    page.set_default_timeout(90_000)
    page.goto(address)
    page.wait_for_selector("#preset option[value=ioi]", state="attached")
    page.select_option("#preset", "ioi")
    for panel in ("next", "circuit", "lens", "flow"):
        _see(page, panel)
        page.wait_for_selector(f'#{panel}[data-status="ready"]')
    page.evaluate("scrollTo(0, 0)")
    page.click('#heads [data-place="4.2"]')
    for panel in ASKED:
        _see(page, panel)
        page.click(f"#{panel} button.primary, #{panel} button[type=submit]")
        page.wait_for_selector(f"#{panel} .summary")


def _see(page: Page, panel: str) -> None:
    page.evaluate("id => document.getElementById(id).scrollIntoView()", panel)
    page.wait_for_selector(f'#{panel}:not([data-status="later"])')


def _take(page: Page, folder: Path, name: str, theme: str | None, *, whole: bool) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"{name}.png", full_page=whole)
    for chapter in () if whole else (each for each, shown in SHOWN.items() if shown == theme):
        if chapter == "steps":
            page.click("#reasoning button >> text=word problem")
            page.click("#reasoning button.primary")
            page.wait_for_selector('#reasoning[data-status="ready"] .summary')
        page.evaluate("id => document.getElementById(id).scrollIntoView()", chapter)
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"lab-{chapter}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
