"""The order in which credentials are looked for. The first that is there is used, and no other.

BYLINE_CREDENTIAL names one source and switches the order off.
"""

from collections.abc import Callable
from dataclasses import dataclass

from byline_client.errors import Misused, SignInRequired
from byline_client.settings import Settings, config_folder
from byline_client.tokens import Tokens


@dataclass(frozen=True)
class Source:
    """A source of tokens. `needs`: what has to be there, in words."""

    name: str
    needs: str
    is_present: Callable[[Settings], bool]
    open: Callable[[Settings], Tokens]


@dataclass(frozen=True)
class Considered:
    """A source that was looked at, and whether it is there and used."""

    source: Source
    is_present: bool
    is_used: bool


def consider(settings: Settings) -> list[Considered]:
    """All sources in the documented order, and which of them is used. Raises `Misused`."""
    forced = settings.environ.get("BYLINE_CREDENTIAL", "")
    names = [source.name for source in SOURCES]
    if forced and forced not in names:
        raise Misused(f"Unknown BYLINE_CREDENTIAL `{forced}`. Sources: {', '.join(names)}.")
    considered, is_taken = [], False
    for source in SOURCES:
        is_present = source.is_present(settings)
        is_used = source.name == forced if forced else is_present and not is_taken
        is_taken = is_taken or is_used
        considered.append(Considered(source, is_present, is_used))
    return considered


def choose(settings: Settings) -> tuple[Source, Tokens]:
    """The source that is used, opened. Raises `SignInRequired` if there is none."""
    for each in consider(settings):
        if each.is_used:
            if not each.is_present:
                raise SignInRequired(
                    f"BYLINE_CREDENTIAL is `{each.source.name}`, which needs {each.source.needs}."
                )
            return each.source, each.source.open(settings)
    raise SignInRequired(
        f"You are not signed in to {settings.url}. Run `byline login {settings.url}`."
    )


def _has(*names: str) -> Callable[[Settings], bool]:
    return lambda settings: any(settings.environ.get(name) for name in names)


def _given(settings: Settings) -> Tokens:
    from byline_client.credentials.given import GivenToken  # noqa: PLC0415

    return GivenToken(settings.environ)


def _file(settings: Settings) -> Tokens:
    from byline_client.credentials.given import TokenFile  # noqa: PLC0415

    return TokenFile(settings.environ)


def _client(settings: Settings) -> Tokens:
    from byline_client.credentials.machines import client_credentials  # noqa: PLC0415

    return client_credentials(settings)


def _github(settings: Settings) -> Tokens:
    from byline_client.credentials.machines import github_job  # noqa: PLC0415

    return github_job(settings)


def _gitlab(settings: Settings) -> Tokens:
    from byline_client.credentials.machines import gitlab_job  # noqa: PLC0415

    return gitlab_job(settings)


def _aws(settings: Settings) -> Tokens:
    from byline_client.credentials.machines import aws_role  # noqa: PLC0415

    return aws_role(settings)


def _signed_in(settings: Settings) -> Tokens:
    from byline_client.credentials.signed_in import SignedInTokens  # noqa: PLC0415

    assert settings.profile is not None  # noqa: S101 - `is_present` says so
    return SignedInTokens(settings.profile, config_folder(settings.environ))


_CLIENT = ("BYLINE_CLIENT_ID", "BYLINE_CLIENT_SECRET", "BYLINE_CLIENT_SECRET_FILE")
_GITHUB = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")

SOURCES: tuple[Source, ...] = (
    Source("token", "`BYLINE_TOKEN`", _has("BYLINE_TOKEN"), _given),
    Source("token-file", "`BYLINE_TOKEN_FILE`", _has("BYLINE_TOKEN_FILE"), _file),
    Source(
        "client-credentials",
        "`BYLINE_CLIENT_ID`, and `BYLINE_CLIENT_SECRET` or `BYLINE_CLIENT_SECRET_FILE`",
        _has(*_CLIENT),
        _client,
    ),
    Source("gitlab", "`BYLINE_ID_TOKEN`, by `id_tokens`", _has("BYLINE_ID_TOKEN"), _gitlab),
    Source("github", "a job with the permission `id-token: write`", _has(*_GITHUB), _github),
    Source(
        "aws",
        "`BYLINE_CREDENTIAL=aws`, the extra `aws`, and a role with `sts:GetWebIdentityToken`",
        lambda settings: settings.environ.get("BYLINE_CREDENTIAL") == "aws",
        _aws,
    ),
    Source(
        "sign-in",
        "a sign-in to the service, by `byline login`",
        lambda settings: settings.profile is not None,
        _signed_in,
    ),
)
"""In the order in which they are looked for."""
