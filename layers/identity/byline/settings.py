"""Reading environment variables: each function reads its own once, at cold start.

A value that is missing or contradicts another fails the cold start with `Misconfigured`, which
names the variable.
"""

import re
from collections.abc import Mapping

from byline.errors import Misconfigured
from byline.urls import require_https

PREFIX_VARIABLE = "SECRET_PREFIX"

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
"""Every name of a CloudFormation stack matches, and no wildcard or variable of an IAM policy does.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html"""

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")


def required(environment: Mapping[str, str], variable: str) -> str:
    """The value of `variable`, as it is. Raises `Misconfigured` where it is not set or empty."""
    value = environment.get(variable, "")
    if not value:
        raise Misconfigured(variable, "is not set. Set it.")
    return value


def choice(environment: Mapping[str, str], variable: str, *, of: tuple[str, ...]) -> str:
    """The value of `variable`; the first `of` the choices where it is not set.

    Raises `Misconfigured` for a value that is none of them.
    """
    value = environment.get(variable, "").strip()
    if not value:
        return of[0]
    if value not in of:
        raise Misconfigured(variable, f"is {value!r}, and must be one of: {', '.join(of)}.")
    return value


def whole_number(environment: Mapping[str, str], variable: str, *, default: int, least: int) -> int:
    """The number in `variable`, `default` where it is not set.

    Raises `Misconfigured` for a number below `least`, and for anything else.
    """
    text = environment.get(variable, "").strip() or str(default)
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise Misconfigured(variable, f"is {text!r}, and must be a whole number >= {least}.")
    return int(text)


def base_url(environment: Mapping[str, str], variable: str) -> str:
    """The URL in `variable`, without a slash at its end; empty where it is not set.

    Raises `Misconfigured` for a URL that `require_base_url` refuses.
    """
    url = environment.get(variable, "").strip()
    if url:
        require_base_url(variable, url)
    return url.rstrip("/")


def require_base_url(variable: str, url: str) -> None:
    """Raise `Misconfigured` unless a path can be appended to `url`.

    Such a URL passes `require_https` and has no query and no fragment.
    """
    require_https(variable, url)
    if "?" in url or "#" in url:
        raise Misconfigured(variable, f"is {url!r}, and must have no query and no fragment.")


def public_origin(environment: Mapping[str, str]) -> str:
    """The address of the service in `PUBLIC_URL`, without a slash at its end; empty where unset.

    Raises `Misconfigured` unless it is scheme, host and port: a header of answers quotes it.
    """
    url = environment.get("PUBLIC_URL", "").strip().rstrip("/")
    if url:
        require_https("PUBLIC_URL", url)
        if not _ORIGIN.fullmatch(url):
            raise Misconfigured("PUBLIC_URL", "must be scheme, host and port, without a path.")
    return url


def secret_prefix(environment: Mapping[str, str]) -> str:
    """The prefix of all secrets' names, in `SECRET_PREFIX`. Raises `Misconfigured`."""
    prefix = required(environment, PREFIX_VARIABLE)
    if _PREFIX.fullmatch(prefix) is None:
        raise Misconfigured(
            PREFIX_VARIABLE,
            f"is {prefix!r}, and must have 1 to 128 letters, digits and hyphens, the first a "
            "letter or a digit.",
        )
    return prefix
