"""Takes the pictures of `docs/console.md` from a running stack.

    LOCAL_STORY=on make up
    python -m tools.console_pictures http://127.0.0.1:8080

Needs Chromium. Each picture has 64 colours, so that it stays small.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
COLOURS = 64


class Picture(NamedTuple):
    """A page to show. `height`: in pixels."""

    name: str
    path: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


PICTURES = (
    Picture("runs", "/console/runs?project=research", 1100, 450, "light"),
    Picture("runs-narrow", "/console/runs?project=research", 360, 640, "dark"),
    Picture("run", "/console/runs?project=research&status=cancelled", 1100, 620, "dark"),
    Picture("runners", "/console/runners?project=research", 1100, 300, "light"),
    Picture("access", "/console/access?project=research", 1100, 700, "light"),
    Picture("audit", "/console/audit?project=research", 1100, 500, "dark"),
)


def main(url: str) -> None:
    """Sign in at `url` and take every picture."""
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("button", name="Ada Lovelace").click()
        page.get_by_role("heading", name="Hello").wait_for()
        for picture in PICTURES:
            page.set_viewport_size({"width": picture.width, "height": picture.height})
            page.emulate_media(color_scheme=picture.scheme)
            page.goto(url + picture.path)
            if picture.name == "run":
                page.locator("table.runs tbody a").first.click()
                page.get_by_role("heading", name="Timeline").wait_for()
            page.locator(".loading").first.wait_for(state="detached")
            page.wait_for_timeout(1_500)
            _save(page.screenshot(), DOCS / f"console-{picture.name}.png")
        browser.close()


def _save(png: bytes, file: Path) -> None:
    image = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
