"""Takes the pictures of `docs/console.md` from a running stack.

    LOCAL_STORY=on make up
    python -m tools.console_pictures http://127.0.0.1:8080

Needs Chromium. Each picture has 128 colours, so that it stays small.
"""

import shutil
import sys
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parents[1] / "docs/console"
COLOURS = 128
SIZES = ({"width": 1440, "height": 720}, {"width": 360, "height": 640})
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = {
    "home": "/",
    "runs": "/console/runs?project=research",
    "run": "/console/runs?project=research&status=cancelled",
    "runners": "/console/runners?project=sandbox",
    "access": "/console/access?project=research",
    "audit": "/console/audit?project=research",
}
"""The address of each page; of `run`, that of a list whose first run is shown."""


def main(url: str) -> None:
    """Sign in at `url` and take every page in both sizes and both schemes."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("button", name="Ada Lovelace").click()
        page.get_by_role("heading", name="Hello").wait_for()
        for (name, path), size, scheme in product(PAGES.items(), SIZES, SCHEMES):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            page.goto(url + path)
            if name == "run":
                page.locator("table.runs tbody a").first.click()
                page.get_by_role("heading", name="Timeline").wait_for()
            page.locator(".loading").first.wait_for(state="detached")
            page.wait_for_timeout(1_500)
            _save(page.screenshot(), FOLDER / f"{name}-{size['width']}-{scheme}.png")
        browser.close()


def _save(png: bytes, file: Path) -> None:
    image = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
