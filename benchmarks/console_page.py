"""The list of a hundred runs in Chromium: long tasks, shifts of the layout, requests and bytes.

    python -m benchmarks.console_page

Not a test, since tasks take longer on a busy machine: run it on an idle one. Needs Chromium.
"""

import json
import shutil
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from local.stack import Stack

ROUNDS = 7
RUNS = 100
PROJECT = "research"

_OBSERVE = """(() => {
    window.tasks = [0];
    window.shifts = 0;
    const observe = (type, take) => new PerformanceObserver(list => list.getEntries().forEach(take))
        .observe({type, buffered: true});
    observe("longtask", task => window.tasks.push(task.duration));
    observe("layout-shift", shift => { window.shifts += shift.hadRecentInput ? 0 : shift.value; });
})()"""
_CREATE = """async ([path, count]) => {
    const headers = {"content-type": "application/json"};
    const run = number => ({name: `run ${number}`, labels: {team: "vision", kind: "nightly"}});
    while (count-- > 0) {
        await fetch(path, {method: "POST", headers, body: JSON.stringify(run(count))});
    }
}"""
_MEASURED = """() => {
    const entries = ["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind));
    const files = entries.filter(entry => !/\\/v1\\/|\\.svg$/.test(entry.name));
    const bytes = files.reduce((sum, file) => sum + file.encodedBodySize, 0);
    return [Math.max(...window.tasks), window.shifts, files.length, bytes];
}"""


def main() -> None:
    """Print the median and the largest of each measurement as JSON."""
    with Stack() as stack, sync_playwright() as playwright:
        chromium: Any = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page()
        page.goto(stack.url)
        page.get_by_role("button", name="Ada Lovelace").click()
        page.get_by_role("heading", name="Hello").wait_for()
        page.evaluate(_CREATE, [f"/v1/projects/{PROJECT}/runs", RUNS])
        page.add_init_script(_OBSERVE)
        found = [_measure(page, stack.url) for _ in range(ROUNDS)]
        chromium.close()
    names = ("longest task, ms", "layout shift", "requests", "bytes")
    for name, values in zip(names, zip(*found, strict=True), strict=True):
        print(json.dumps({"what": name, "median": median(values), "largest": max(values)}))


def _measure(page: Any, url: str) -> list[float]:
    page.goto(f"{url}/console/runs?project={PROJECT}")
    page.locator("tbody tr").nth(RUNS - 1).wait_for()
    page.wait_for_timeout(2_500)
    measured: list[float] = page.evaluate(_MEASURED)
    return measured


if __name__ == "__main__":
    main()
