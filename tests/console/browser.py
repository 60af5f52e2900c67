"""A person's browser in front of the console of a running stack."""

from typing import Any

from local.openid_directory import Person
from local.stack import Stack

HARMLESS = "the server responded with a status of"
"""Chromium reports each answer that is not a success; the pages show those by themselves."""


class Browser:
    """One page of `chromium`, whose errors are kept."""

    def __init__(self, chromium: Any, stack: Stack) -> None:
        self.context = chromium
        self.stack = stack
        self.page: Any = chromium.new_page()
        self.requested: list[str] = []
        self._errors: list[str] = []
        self.page.set_default_timeout(15_000)
        self.page.on("pageerror", lambda error: self._errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("dialog", self._asked)
        self.page.on("request", lambda request: self.requested.append(request.url))

    def open(self, path: str) -> None:
        """Load the page of an address."""
        self.requested.clear()
        self.page.goto(self.stack.url + path)

    def sign_in(self, person: Person) -> None:
        """Choose a person on the provider's page, where the browser must be."""
        self.page.locator(f"button[value='{person.subject}']").click()
        self.page.wait_for_url(f"{self.stack.url}/**")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer to a request with the session of the page."""
        script = """async ([method, path, body]) => {
            const headers = {"content-type": "application/json"};
            const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
            const text = await answer.text();
            if (!answer.ok) throw new Error(`${answer.status} ${text}`);
            return text ? JSON.parse(text) : null;
        }"""
        return self.page.evaluate(script, [method, path, body])

    def path(self) -> str:
        """The path and query of the page."""
        return str(self.page.url).removeprefix(self.stack.url)

    def taken_errors(self) -> list[str]:
        """What the page complained of since the last call."""
        errors, self._errors = self._errors, []
        return errors

    def _asked(self, dialog: Any) -> None:
        self._errors.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and HARMLESS not in message.text:
            self._errors.append(message.text)
