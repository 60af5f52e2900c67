"""The settings that decide which callers count, read once at cold start.

An operator sets each variable through the template parameter of the same meaning. A contradiction
fails the cold start with `Misconfigured`, which names the variable.
"""

import re
from collections.abc import Mapping
from typing import Literal, cast, get_args

import msgspec

from byline.errors import Misconfigured
from byline.identity.trusted_issuers import TrustedIssuer, read_trusted_issuers, require_issuer
from byline.settings import choice, require_base_url

Trust = Literal["verify", "forwarded", "ignore"]
Anonymous = Literal["refuse", "allow"]
_LOAD_BALANCER_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):elasticloadbalancing:(?P<region>[a-z]{2}[a-z0-9-]*-\d):\d{12}:"
    r"loadbalancer/app/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}"
)

TARGET_GROUP = (
    r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[A-Za-z0-9-]{1,32}"
)
"""The pattern of a target group's ARN without the id at its end."""


class SignerKeys(msgspec.Struct, frozen=True):
    """The ARN of a load balancer whose tokens count, and the base URL of its region's keys."""

    signer: str
    keys_url: str


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `Identity`. An empty policy is legal and refuses every caller."""

    signers: tuple[SignerKeys, ...] = ()
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    trusted_issuers: tuple[TrustedIssuer, ...] = ()
    browser_target_group: str = ""
    bearer_target_group: str = ""
    trust: Trust = "verify"
    anonymous: Anonymous = "refuse"

    @property
    def browser_subject(self) -> tuple[str, ...]:
        """The claims that name a person who signs in with a browser, in the order of preference.

        The entry of the same issuer in `trusted_issuers` sets them; by default it is `sub`.
        """
        rules = (each.rules for each in self.trusted_issuers if each.issuer == self.oidc_issuer)
        return next(rules, {}).get("subject", ("sub",))  # type: ignore[no-any-return]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "IdentitySettings":
        """The settings in `environment`. Raises `Misconfigured` for a value or combination that is
        not legal."""

        def value(name: str) -> str:
            return environment.get(name, "").strip()

        settings = cls(
            signers=_signers(value("LOAD_BALANCER_ARNS"), value("ALB_PUBLIC_KEYS_URL")),
            oidc_issuer=value("OIDC_ISSUER"),
            oidc_client_id=value("OIDC_CLIENT_ID"),
            trusted_issuers=read_trusted_issuers(value("TRUSTED_ISSUERS")),
            browser_target_group=value("BROWSER_TARGET_GROUP"),
            bearer_target_group=value("BEARER_TARGET_GROUP"),
            trust=cast(Trust, choice(environment, "IDENTITY_TRUST", of=get_args(Trust))),
            anonymous=cast(
                Anonymous, choice(environment, "ANONYMOUS_CALLERS", of=get_args(Anonymous))
            ),
        )
        settings._refuse_contradictions()
        return settings

    def _refuse_contradictions(self) -> None:
        for kind, group in (
            ("BROWSER", self.browser_target_group),
            ("BEARER", self.bearer_target_group),
        ):
            if group and not re.fullmatch(TARGET_GROUP, group):
                raise Misconfigured(
                    f"{kind}_TARGET_GROUP",
                    f"is {group!r}. Write a target group's ARN without the id at its end.",
                )
        if self.browser_target_group and self.browser_target_group == self.bearer_target_group:
            raise Misconfigured(
                "BEARER_TARGET_GROUP",
                "equals BROWSER_TARGET_GROUP. Name a target group of its own for Bearer tokens.",
            )
        browser = {
            "LOAD_BALANCER_ARNS": bool(self.signers),
            "OIDC_ISSUER": bool(self.oidc_issuer),
            "OIDC_CLIENT_ID": bool(self.oidc_client_id),
        }
        require_issuer("OIDC_ISSUER", self.oidc_issuer)
        missing = [name for name, given in browser.items() if not given]
        if any(browser.values()) and missing:
            given = ", ".join(name for name in browser if name not in missing)
            raise Misconfigured(
                missing[0],
                f"is empty, but browser sign-ins need it with {given}. Set all of them or none.",
            )
        if self.signers and not self.browser_target_group:
            raise Misconfigured(
                "BROWSER_TARGET_GROUP", "is empty, but LOAD_BALANCER_ARNS is set. Set both or none."
            )
        if self.trusted_issuers and not self.bearer_target_group:
            raise Misconfigured(
                "BEARER_TARGET_GROUP", "is empty, but TRUSTED_ISSUERS is set. Set both or none."
            )
        if self.trust == "ignore" and self.anonymous == "refuse":
            raise Misconfigured(
                "ANONYMOUS_CALLERS",
                "is `refuse`, but IDENTITY_TRUST=ignore makes every caller anonymous."
                " Set `allow` if that is intended.",
            )


def _signers(arns: str, keys_url: str) -> tuple[SignerKeys, ...]:
    if keys_url:
        require_base_url("ALB_PUBLIC_KEYS_URL", keys_url)
    signers = []
    for arn in filter(None, (arn.strip() for arn in arns.split(","))):
        match = _LOAD_BALANCER_ARN.fullmatch(arn)
        if match is None:
            raise Misconfigured(
                "LOAD_BALANCER_ARNS",
                f"has {arn!r}, which is no Application Load Balancer's ARN.",
            )
        url = keys_url.rstrip("/") or _keys_url(match["partition"], match["region"])
        signers.append(SignerKeys(signer=arn, keys_url=url))
    return tuple(signers)


def _keys_url(partition: str, region: str) -> str:
    """The base URL of the keys of a region's load balancers.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
    (China's address comes from reports of users; AWS does not document it.)
    """
    match partition:
        case "aws":
            return f"https://public-keys.auth.elb.{region}.amazonaws.com"
        case "aws-us-gov":
            return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
        case "aws-cn":
            return f"https://public-keys.auth.elb.{region}.amazonaws.com.cn"
        case _:
            raise Misconfigured(
                "ALB_PUBLIC_KEYS_URL",
                f"is not set, and the key address of partition {partition!r} is not known. Set it.",
            )
