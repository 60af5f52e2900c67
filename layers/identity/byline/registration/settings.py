"""The settings of registration with the organisation's authorization service."""

from collections.abc import Mapping

import msgspec

from byline.errors import Misconfigured
from byline.names import is_name
from byline.settings import base_url, choice


class RegistrationSettings(msgspec.Struct, frozen=True):
    """`url` is empty where registration is off. `projects` is empty where it is on for all.

    `principal`: `typed` or `flat`, with `account_id` for the second. `counters`: `byline`, or
    `agentex` to count under agentex's names too.
    """

    url: str
    projects: frozenset[str]
    principal: str
    account_id: str
    counters: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "RegistrationSettings":
        """Read the settings. Raises `Misconfigured`."""
        variable = "REGISTRATION_PROJECTS"
        names = (name.strip() for name in environ.get(variable, "").split(","))
        projects = frozenset(name for name in names if name)
        for name in sorted(projects):
            if not is_name(name):
                raise Misconfigured(variable, f"has {name!r}, which is not a project's name.")
        return cls(
            url=base_url(environ, "AUTHORIZATION_SERVICE_URL"),
            projects=projects,
            principal=choice(environ, "REGISTRATION_PRINCIPAL", of=("typed", "flat")),
            account_id=environ.get("REGISTRATION_ACCOUNT_ID", "").strip(),
            counters=choice(environ, "REGISTRATION_COUNTERS", of=("byline", "agentex")),
        )

    def is_on_for(self, project: str) -> bool:
        """Whether new runs and service accounts of a project are registered."""
        return bool(self.url) and (not self.projects or project in self.projects)
