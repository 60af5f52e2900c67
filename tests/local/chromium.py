"""Chromium, driven by Playwright, for the tests of the local stack."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.required import skip_or_fail

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]


@contextmanager
def open_chromium(profile: Path) -> Iterator[Any]:
    """A browser with an empty `profile`, in which evil.example is this machine."""
    chromium = shutil.which("chromium") or skip_or_fail("chromium", "Chromium is not installed")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        context: Any = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=ARGUMENTS
        )
        with closing(context):
            yield context
