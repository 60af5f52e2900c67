"""The names of secrets in Secrets Manager. Each begins with the prefix of its deployment.

A policy that allows `{prefix}/clients/*` matches the secrets of no other prefix: a prefix contains
no `/`, so it is all of a name's first segment.
"""

import re
from collections.abc import Mapping
from typing import Self

import msgspec

from byline.errors import Misconfigured
from byline.settings import required

VARIABLE = "SECRET_PREFIX"

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
"""Every name of a CloudFormation stack matches, and no wildcard or variable of an IAM policy does.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html"""


class SecretNames(msgspec.Struct, frozen=True):
    """The names of a deployment's secrets. Two deployments in one account have two prefixes."""

    prefix: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The names with the prefix in `SECRET_PREFIX`. Raises `Misconfigured`."""
        prefix = required(environment, VARIABLE)
        if _PREFIX.fullmatch(prefix) is None:
            raise Misconfigured(
                VARIABLE,
                f"is {prefix!r}, and must have 1 to 128 letters, digits and hyphens, the first a "
                "letter or a digit.",
            )
        return cls(prefix)

    def client(self, project: str, client: str) -> str:
        """The secret with the credentials of an OAuth client."""
        return f"{self.prefix}/clients/{project}/{client}"

    def token(self, project: str, runner: str, slot: int) -> str:
        """The secret with a runner's tokens in one of its slots."""
        return f"{self.prefix}/runners/{project}/{runner}/{slot}"

    def credential(self, project: str, credential: str) -> str:
        """The secret of a credential."""
        return f"{self.prefix}/credentials/{project}/{credential}"
