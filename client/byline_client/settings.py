"""Where the service is, and the profiles that `byline login` made."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from byline_client.addresses import checked_url
from byline_client.errors import ClientError, Misused
from byline_client.private_files import read_private, write_private

DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class SignInProfile:
    """A service, and how to sign in to it. Its tokens are in the token store, not here.

    `store`: `keyring` or `file`.
    """

    name: str
    url: str
    issuer: str = ""
    client_id: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    store: str = ""


@dataclass(frozen=True)
class Settings:
    """The settings of one command or program.

    `profile` is None where no profile is for `url`: its tokens must not be sent anywhere else.
    """

    url: str
    profile: SignInProfile | None
    environ: Mapping[str, str]


def read_settings(
    environ: Mapping[str, str] | None = None, *, url: str = "", profile: str = ""
) -> Settings:
    """The settings: what is given, then BYLINE_URL and BYLINE_PROFILE, then the current profile.

    Raises `Misused` and `ClientError`.
    """
    environ = os.environ if environ is None else environ
    profiles = SignInProfiles(config_folder(environ))
    wanted = profile or environ.get("BYLINE_PROFILE", "")
    found = profiles.get(wanted)
    if wanted and found is None:
        known = ", ".join(profiles.names()) or "none yet; `byline login URL` makes one"
        raise Misused(f"Unknown profile `{wanted}`. Profiles: {known}.")
    text = url or environ.get("BYLINE_URL", "")
    if text:
        address = checked_url(text, name="--url" if url else "BYLINE_URL")
    elif found is not None:
        address = found.url
    else:
        raise Misused("No service is named. Run `byline login URL`, or set BYLINE_URL.")
    return Settings(address, found if found and found.url == address else None, environ)


def config_folder(environ: Mapping[str, str]) -> Path:
    """The folder of profiles, tokens in files, and runs that wait to be recorded."""
    if folder := environ.get("BYLINE_CONFIG_DIR"):
        return Path(folder)
    import platformdirs  # noqa: PLC0415 - not needed where the variable is set

    return platformdirs.user_config_path("byline")


class SignInProfiles:
    """The profiles in `folder`/profiles.json, and which of them is the current one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "profiles.json"
        self._document = self._read()

    def names(self) -> list[str]:
        """The names of all profiles, sorted."""
        return sorted(self._document["profiles"])

    def get(self, name: str = "") -> SignInProfile | None:
        """The profile of this name, by default the current one; None if there is none."""
        name = name or self.current
        members = self._document["profiles"].get(name)
        if members is None:
            return None
        known = {field.name for field in fields(SignInProfile)}
        texts = {key: str(value) for key, value in members.items() if key in known}
        profile = SignInProfile(**{"url": "", **texts, "name": name})
        return replace(profile, url=checked_url(profile.url, name=f"The URL in {self._path}"))

    @property
    def current(self) -> str:
        """The name of the current profile."""
        return str(self._document["current"])

    def put(self, profile: SignInProfile) -> None:
        """Store a profile, and make it the current one."""
        members = asdict(profile)
        del members["name"]
        self._document["profiles"][profile.name] = members
        self._document["current"] = profile.name
        self._write()

    def remove(self, name: str) -> None:
        """Forget a profile. Of those that are left, the first becomes the current one."""
        self._document["profiles"].pop(name, None)
        if self.current == name:
            self._document["current"] = next(iter(self.names()), DEFAULT_PROFILE)
        self._write()

    def _read(self) -> dict[str, Any]:
        text = read_private(self._path)
        try:
            document = json.loads(text) if text else {}
            profiles = {name: dict(it) for name, it in document.get("profiles", {}).items()}
            current = document.get("current", DEFAULT_PROFILE)
        except (ValueError, TypeError, AttributeError):
            raise ClientError(f"{self._path} is damaged. Delete it and sign in again.") from None
        return {"current": current, "profiles": profiles}

    def _write(self) -> None:
        write_private(self._path, json.dumps(self._document, indent=2) + "\n")
