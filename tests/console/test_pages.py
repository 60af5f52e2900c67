"""The console's pages in Chromium, against the running stack."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local.openid_directory import Person
from local.openid_provider import ADA, GRACE
from tests.console.browser import Browser
from tests.console.conftest import PROJECT
from tests.docs.people_tokens import token_of
from tests.required import skip_or_fail
from tools.vendor_console import PACKAGES

pytestmark = pytest.mark.stack

RUNS = f"/v1/projects/{PROJECT}/runs"
PLANTED = """<img src=x onerror="window.planted=1"><script>window.planted=1</script>${planted}"""
IN_AN_ADDRESS = quote(PLANTED, safe="")
RIGHT_TO_LEFT = "\u05e2\u05d3\u05d4"

SHIFTS = """() => {
    window.shifts = 0;
    const add = entry => { if (!entry.hadRecentInput) window.shifts += entry.value; };
    new PerformanceObserver(list => list.getEntries().forEach(add))
        .observe({type: "layout-shift", buffered: true});
}"""


def new_run(browser: Browser, **body: Any) -> str:
    """The id of a new run of the person that is signed in."""
    return str(browser.call("POST", RUNS, body)["id"])


def row_of(browser: Browser, name: str) -> Any:
    """The row of a run in the list."""
    return browser.page.locator("tbody tr", has_text=name)


def open_as(browser: Browser, person: Person, path: str) -> None:
    """Open a page in a new session of a person."""
    browser.context.clear_cookies()
    browser.open(path)
    browser.sign_in(person)


@pytest.fixture(scope="module", autouse=True)
def _project(browser: Browser) -> None:
    """The project, with a runner whose client works, and one whose client has a wrong secret."""
    browser.stack.give_client(PROJECT, "short-lived")
    browser.stack.give_client(PROJECT, "nightly-train", secret="wrong")
    new_run(browser, name="first")
    path = f"/v1/projects/{PROJECT}"
    browser.call("PUT", f"{path}/runners/trainer", {"client": "short-lived"})
    browser.call("PUT", f"{path}/runners/indexer", {"client": "nightly-train"})
    credential = {"provider": "github", "token": "ghp_x", "readers": [{"runner": "trainer"}]}
    browser.call("PUT", f"{path}/credentials/code-host", credential)
    agent = {"issuer": browser.stack.issuer, "subject": "assistant", "roles": ["project:editor"]}
    browser.call("PUT", f"{path}/agents/assistant", agent)


def test_person_without_a_session_signs_in_and_returns_to_the_page(browser: Browser) -> None:
    """The address, with its filters, is the same after the sign-in."""
    address = f"/console/runs?project={PROJECT}&status=pending"
    browser.context.clear_cookies()
    browser.open(address)
    assert browser.page.url.startswith(browser.stack.issuer)
    browser.sign_in(ADA)
    row_of(browser, "first").wait_for()
    assert browser.path() == address
    browser.page.locator(".caller", has_text="Ada Lovelace").wait_for()


def test_run_is_opened_followed_and_cancelled(browser: Browser) -> None:
    """A run in the list leads to its page, where messages and states appear as they come."""
    run = new_run(browser, name="evaluate", labels={"team": "vision"})
    browser.open(f"/console/runs?project={PROJECT}")
    row = row_of(browser, "evaluate")
    assert "team: vision" in row.inner_text()
    row.get_by_role("link", name="evaluate").click()
    page = browser.page
    page.get_by_role("heading", name="evaluate").wait_for()
    assert browser.path() == f"/console/runs/{PROJECT}/{run}"
    browser.call("POST", f"{RUNS}/{run}/start")
    browser.call("POST", f"{RUNS}/{run}/messages", {"role": "user", "content": "How is it going?"})
    page.locator(".messages", has_text="How is it going?").wait_for()
    page.locator(".heading .status.running").wait_for()
    page.get_by_role("button", name="Cancel run").click()
    page.locator(".heading .status.cancelled").wait_for()
    for verb in ("started", "cancelled"):
        page.locator(".timeline li", has_text=verb).wait_for()
    acts = [text.split()[0] for text in page.locator(".timeline li").all_inner_texts()]
    assert acts == ["created", "started", "1", "cancelled"]
    cancel = page.get_by_role("button", name="Cancel run")
    assert cancel.get_attribute("aria-disabled") == "true"
    assert cancel.get_attribute("title") == "This run is cancelled already."
    assert browser.call("GET", f"{RUNS}/{run}")["status"] == "cancelled"


def test_run_of_a_command_is_followed_to_its_end(browser: Browser, tmp_path: Path) -> None:
    """What `byline run` records appears on the open page: running, its end, and why."""
    stack = browser.stack
    environ = {
        **os.environ,
        "BYLINE_URL": stack.url,
        "BYLINE_TOKEN": token_of(ADA, stack),
        "BYLINE_CONFIG_DIR": str(tmp_path),
        "PYTHONPATH": "client",
    }
    until = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; exit 7"
    words = [sys.executable, "-m", "byline_client", "run", "--project", PROJECT]
    browser.open(f"/console/runs?project={PROJECT}")
    page = browser.page
    job = subprocess.Popen([*words, "--name", "by command", "--", "sh", "-c", until], env=environ)
    with job:
        row_of(browser, "by command").get_by_role("link", name="by command").click()
        page.locator(".heading .status.running").wait_for()
        (tmp_path / "go").touch()
        page.locator(".heading .status.failed").wait_for()
    assert job.returncode == 7
    assert (
        page.locator("dt", has_text="Exit code")
        .locator("xpath=following-sibling::dd[1]")
        .inner_text()
        == "7"
    )


def test_list_is_filtered_by_state_and_person(browser: Browser) -> None:
    """A filter is in the address, and the list shows what matches."""
    cancelled = new_run(browser, name="cancelled one")
    browser.call("POST", f"{RUNS}/{cancelled}/cancel")
    page = browser.page
    browser.open(f"/console/runs?project={PROJECT}")
    row_of(browser, "first").wait_for()
    page.get_by_label("Status").select_option("cancelled")
    row_of(browser, "first").wait_for(state="detached")
    row_of(browser, "cancelled one").wait_for()
    assert browser.path() == f"/console/runs?project={PROJECT}&status=cancelled"
    page.get_by_label("Person").fill(GRACE.email)
    page.keyboard.press("Enter")
    page.get_by_text("No run matches these filters.").wait_for()


def test_new_run_appears_while_the_list_is_looked_at(browser: Browser) -> None:
    """The list asks again by itself, and a row under the pointer stays where it is."""
    browser.open(f"/console/runs?project={PROJECT}")
    row_of(browser, "first").hover()
    before = browser.page.locator("tbody tr").first.inner_text()
    new_run(browser, name="latest")
    browser.page.get_by_text("1 more when the pointer leaves").wait_for()
    assert browser.page.locator("tbody tr").first.inner_text().split()[:2] == before.split()[:2]
    browser.page.mouse.move(0, 0)
    row_of(browser, "latest").wait_for()


def test_ended_session_leads_to_the_sign_in_and_back(browser: Browser) -> None:
    """A page whose session ends while it is open signs in again, and shows the same address."""
    address = f"/console/runs?project={PROJECT}&person=me"
    browser.open(address)
    row_of(browser, "first").wait_for()
    browser.page.evaluate("sessionStorage.clear()")
    browser.context.clear_cookies()
    browser.page.wait_for_url(f"{browser.stack.issuer}/**")
    browser.sign_in(ADA)
    row_of(browser, "first").wait_for()
    assert browser.path() == address


def test_children_of_a_run_are_under_it(browser: Browser) -> None:
    """The page of a run shows its children, and the page of a child leads to its parent."""
    parent = new_run(browser, name="parent")
    new_run(browser, name="child", parent_run=parent)
    browser.open(f"/console/runs/{PROJECT}/{parent}")
    browser.page.locator(".tree").get_by_role("link", name="child").click()
    browser.page.locator(".tree").get_by_role("link", name=parent).click()
    browser.page.get_by_role("heading", name="parent", exact=True).wait_for()
    assert browser.path() == f"/console/runs/{PROJECT}/{parent}"


def test_failing_runner_comes_first_with_what_to_do(browser: Browser) -> None:
    """A runner's bar has its token's times; a failing one is above, with class, reason and hint."""
    browser.open(f"/console/runners?project={PROJECT}")
    runners = browser.page.locator(".runners > li")
    browser.page.locator(".runners .fault").wait_for(timeout=30_000)
    assert runners.first.inner_text().startswith("indexer")
    told = browser.call("GET", f"/v1/projects/{PROJECT}/runners/indexer")["last_error"]
    for fact in (told["class"], told["detail"], told["hint"]):
        assert fact in runners.first.inner_text()
    bar = runners.filter(has_text="trainer").get_by_role("img")
    assert re.match(
        r"Token: \d+ s left\. Issued .+, due .+, expires .+\.", bar.get_attribute("aria-label")
    )


def test_refresh_now_replaces_the_token(browser: Browser) -> None:
    """After *Refresh now* a later token's times are in the bar."""
    path = f"/v1/projects/{PROJECT}/runners/trainer"
    before = browser.call("GET", path)["issued_at"]
    browser.open(f"/console/runners?project={PROJECT}")
    bar = browser.page.locator(".runners > li", has_text="trainer").get_by_role("img")
    text = bar.get_attribute("aria-label").partition("Issued")[2]
    browser.page.get_by_role("button", name="Refresh now: trainer").click()
    browser.page.locator(f".token svg:not([aria-label*='{text}'])").first.wait_for()
    assert browser.call("GET", path)["issued_at"] > before


def test_granted_role_changes_what_the_other_person_sees(browser: Browser) -> None:
    """Grace sees the runs of the project while she has a role, and not after its revocation."""
    page, access = browser.page, f"/console/access?project={PROJECT}"
    browser.open(access)
    page.get_by_label("E-mail or subject").fill(GRACE.subject)
    form = page.get_by_role("form", name="Grant a role")
    form.get_by_label("Role").select_option("project:editor")
    form.get_by_role("button", name="Grant role").click()
    row = page.locator(".matrix tbody tr", has_text=GRACE.subject)
    row.get_by_text("granted").first.wait_for()
    for shown in ("assistant", "code-host", "runner trainer"):
        page.get_by_role("cell", name=shown, exact=True).wait_for()
    open_as(browser, GRACE, f"/console/runs?project={PROJECT}")
    row_of(browser, "first").wait_for()
    grace = quote(f"user:{browser.stack.issuer}#{GRACE.subject}", safe="")
    open_as(browser, ADA, f"{access}&who={grace}")
    page.get_by_text("project:editor, by role binding").wait_for()
    row = page.locator(".matrix tbody tr", has_text="Grace Hopper")
    row.get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    open_as(browser, GRACE, f"/console/runs?project={PROJECT}")
    page.get_by_role("alert").wait_for()
    open_as(browser, ADA, "/")


def test_audit_feed_is_filtered_and_downloaded(browser: Browser) -> None:
    """The feed names who did what when; a filter is in the address, and the download has it too."""
    browser.open(f"/console/audit?project={PROJECT}")
    page = browser.page
    page.get_by_role("link", name="register runner").first.click()
    page.get_by_role("link", name="create run").first.wait_for(state="detached")
    assert browser.path() == f"/console/audit?project={PROJECT}&action=register_runner"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    lines = saved.value.path().read_text().splitlines()
    assert lines[0].startswith("at,action,resource_type,resource_id,actor")
    assert len(lines) == 3
    assert all('"register_runner","runner"' in line for line in lines[1:])


def test_home_shows_own_runs_and_what_fails(browser: Browser) -> None:
    """The first page has the person's runs, and the failing runner with what to do."""
    browser.open("/")
    page = browser.page
    page.get_by_role("heading", name="Hello, Ada Lovelace").wait_for()
    page.get_by_role("link", name=f"indexer in {PROJECT}").wait_for()
    page.locator("table.runs tbody tr").first.wait_for()


def test_person_without_the_right_sees_why(browser: Browser) -> None:
    """The API's refusal is shown with its reason and the request's id, and nothing else."""
    open_as(browser, GRACE, "/console/runs?project=someone-elses")
    notice = browser.page.get_by_role("alert")
    notice.wait_for()
    assert "not_found" in notice.inner_text() or "forbidden" in notice.inner_text()
    assert re.search(r"request [0-9a-f-]{36}", notice.inner_text())
    open_as(browser, ADA, "/")


def test_planted_script_is_shown_as_text(browser: Browser) -> None:
    """Markup in names, labels, messages and filters is text on every page that shows it."""
    parent = new_run(browser, name=PLANTED, agent=PLANTED, labels={"x": PLANTED})
    run = new_run(browser, name=RIGHT_TO_LEFT, parent_run=parent)
    path = f"{RUNS}/{parent}/messages"
    browser.call("POST", path, {"role": "user", "content": PLANTED})
    browser.call("POST", path, {"role": "user", "content": {"text": PLANTED, PLANTED: PLANTED}})
    page = browser.page
    for address in (
        f"/console/runs?project={PROJECT}",
        f"/console/runs/{PROJECT}/{parent}",
        f"/console/runs/{PROJECT}/{run}",
    ):
        browser.open(address)
        page.locator("h1").wait_for()
        page.locator("tbody tr").first.wait_for()
        assert_nothing_planted(browser)
    browser.open(f"/console/runs/{PROJECT}/{parent}")
    page.locator(".content", has_text="window.planted").first.wait_for()
    assert page.locator(".heading h1").inner_text() == PLANTED


@pytest.mark.parametrize(
    "address",
    [
        f"/console/{IN_AN_ADDRESS}",
        f"/console/runs/{IN_AN_ADDRESS}/{IN_AN_ADDRESS}",
        f"/console/runs/{PROJECT}/{IN_AN_ADDRESS}",
        f"/console/runs?project={IN_AN_ADDRESS}",
        f"/console/runs?project={PROJECT}&status={IN_AN_ADDRESS}&person={IN_AN_ADDRESS}",
        f"/console/runs?project={PROJECT}&label={IN_AN_ADDRESS}&cursor={IN_AN_ADDRESS}",
        f"/console/runners?project={IN_AN_ADDRESS}",
        f"/console/access?project={IN_AN_ADDRESS}&who={IN_AN_ADDRESS}",
        f"/console/access?project={PROJECT}&who={IN_AN_ADDRESS}",
        f"/console/audit?project={PROJECT}&action={IN_AN_ADDRESS}&person={IN_AN_ADDRESS}",
        f"/console/audit?project={PROJECT}&since={IN_AN_ADDRESS}&{IN_AN_ADDRESS}=1",
    ],
)
def test_markup_of_an_address_is_text(browser: Browser, address: str) -> None:
    """Who follows a prepared link runs nothing of it."""
    browser.open(address)
    browser.page.locator("h1").wait_for()
    browser.page.wait_for_load_state("networkidle")
    assert_nothing_planted(browser)


def test_home_is_whole_after_a_link_with_no_projects_name(browser: Browser) -> None:
    """The browser remembers the text as a project that it has shown, and shows no error for it."""
    browser.open(f"/console/runs?project={IN_AN_ADDRESS}")
    browser.page.get_by_role("alert").wait_for()
    browser.open("/")
    browser.page.get_by_role("link", name=f"indexer in {PROJECT}").wait_for()
    assert browser.page.get_by_role("alert").count() == 0


def test_markup_of_an_answer_is_text(browser: Browser) -> None:
    """Names and errors of runners, and the problems of the API, whoever wrote them."""

    def plant(route: Any) -> None:
        answer = route.fetch()
        document = answer.json()
        for runner in document["runners"]:
            runner |= {"name": PLANTED, "client": PLANTED}
            if runner["last_error"]:
                runner["last_error"] |= dict.fromkeys(("class", "detail", "hint"), PLANTED)
        route.fulfill(response=answer, json=document)

    def refuse(route: Any) -> None:
        problem = dict.fromkeys(("reason", "detail", "instance"), PLANTED)
        route.fulfill(status=403, json=problem)

    page = browser.page
    for answer, shown in ((plant, ".runners > li"), (refuse, "[role=alert]")):
        page.route("**/v1/projects/*/runners?*", answer)
        browser.open(f"/console/runners?project={PROJECT}")
        page.locator(shown, has_text="window.planted").first.wait_for()
        assert_nothing_planted(browser)
        page.unroute("**/v1/projects/*/runners?*")


def assert_nothing_planted(browser: Browser) -> None:
    """No planted script has run, and no planted element is in the page."""
    found = "[window.planted, document.querySelectorAll('#app img, #app script').length]"
    assert browser.page.evaluate(found) == [None, 0]


def test_pages_are_accessible(browser: Browser) -> None:
    """axe finds nothing on any page, at both widths and in both colour schemes."""
    axe = PACKAGES / "axe-core/axe.min.js"
    if not axe.exists():
        skip_or_fail("node", "npm has not installed requirements/console")
    run = browser.call("GET", f"{RUNS}?limit=1&status=cancelled")["runs"][0]["id"]
    for address in pages(run):
        browser.open(address)
        browser.page.locator("h1").wait_for()
        browser.page.locator(".loading").first.wait_for(state="detached")
        browser.page.evaluate(axe.read_text())
        for width in (360, 1440):
            for scheme in ("light", "dark"):
                browser.page.set_viewport_size({"width": width, "height": 900})
                browser.page.emulate_media(color_scheme=scheme)
                assert faults(browser) == [], (address, width, scheme)
            assert browser.page.evaluate("document.documentElement.scrollWidth") <= width, address


def faults(browser: Browser) -> list[Any]:
    """What axe finds on the page: each rule with the first element that breaks it."""
    found = browser.page.evaluate("axe.run().then(result => result.violations)")
    return [(each["id"], each["nodes"][0]["html"]) for each in found]


def pages(run: str) -> list[str]:
    """The addresses of all pages."""
    return [
        "/",
        f"/console/runners?project={PROJECT}",
        f"/console/access?project={PROJECT}&who=me",
        f"/console/audit?project={PROJECT}",
        "/console/audit",
        f"/console/runs?project={PROJECT}",
        f"/console/runs?project={PROJECT}&status=failed&person=nobody",
        f"/console/runs/{PROJECT}/{run}",
        f"/console/runs/{PROJECT}/01M8DHQPC33JS3V49MFXB8RYX9",
        "/console/none",
    ]


def test_list_of_a_hundred_runs_loads_in_three_requests_and_stays_in_place(
    browser: Browser,
) -> None:
    """Page, style and script, then the API; nothing moves while rows arrive."""
    have = len(browser.call("GET", f"{RUNS}?limit=100")["runs"])
    browser.page.evaluate(
        """async ([path, count]) => {
            const headers = {"content-type": "application/json"};
            while (count-- > 0) await fetch(path, {method: "POST", headers, body: "{}"});
        }""",
        [RUNS, max(0, 100 - have)],
    )
    browser.page.set_viewport_size({"width": 1440, "height": 900})
    browser.context.add_init_script(f"({SHIFTS})()")
    browser.open(f"/console/runs?project={PROJECT}")
    browser.page.locator("tbody tr").nth(49).wait_for()
    files = [url for url in browser.requested if "/v1/" not in url and not url.endswith(".svg")]
    assert len(files) == 3
    assert browser.page.evaluate("window.shifts") <= 0.05


def test_person_signs_out(browser: Browser) -> None:
    """After *Sign out*, the console asks for a sign-in again."""
    browser.open(f"/console/runs?project={PROJECT}")
    browser.page.get_by_role("link", name="Sign out").click()
    browser.page.wait_for_load_state()
    browser.open("/")
    assert browser.page.url.startswith(browser.stack.issuer)
    browser.sign_in(ADA)
