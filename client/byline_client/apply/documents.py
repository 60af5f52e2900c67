"""Documents from files: variables expanded, each a valid model, none there twice."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from byline_client.apply.expansion import expanded, secret_at
from byline_client.apply.located import Faults, FilePlace, Located
from byline_client.apply.models import MODELS, Document
from byline_client.secret_text import SecretText

MAX_LIFE = timedelta(days=366)
SENTENCES = {
    "missing": "is required",
    "string_type": "must be a text. Put it in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must have members",
    "model_type": "must have members",
    "string_pattern_mismatch": "has a character or a form that is not allowed",
    "string_too_long": "is too long",
    "too_long": "has too many entries",
    "too_short": "is empty",
    "string_too_short": "is empty or too short",
}
"""The message of each of pydantic's types of errors. Other types keep pydantic's own message."""


@dataclass(frozen=True)
class Wanted:
    """A valid document. `secret`: the text of its `token`, for the kinds that have one.

    `written`: the title before variables were expanded, for faults.
    """

    document: Document
    project: str
    place: FilePlace
    written: str
    secret: SecretText | None = None

    @property
    def title(self) -> str:
        """The kind, the project and the name, for messages."""
        return f"{self.document.kind} {self.project}/{self.document.name}"


def wanted_documents(
    found: Iterable[Located], environ: Mapping[str, str], *, project: str, now: datetime
) -> list[Wanted]:
    """The documents in the order in which they are written to the service.

    `project`: that of documents without one. Raises `Misused` with every fault and its line.
    """
    faults = Faults()
    wanted = []
    for each in found:
        located = expanded(each, environ, faults)
        document = _model(each.text("kind"), located, faults)
        if document is None:
            continue
        home = document.project or project
        if not home:
            faults.add(located.place, "Name the project: `project`, --project or BYLINE_PROJECT.")
        _require_future_end(document, located, faults, now=now)
        token = located.members.get("token")
        secret = None if token is None else secret_at(token, each.members["token"], environ, faults)
        written = f"{document.kind} {each.text('project') or project}/{each.text('name')}"
        wanted.append(Wanted(document, home, located.place, written, secret))
    _refuse_doubles(wanted, faults)
    faults.raise_any()
    order = list(MODELS)
    return sorted(wanted, key=lambda each: order.index(each.document.kind))


def _model(kind: str, located: Located, faults: Faults) -> Document | None:
    """The document. `kind`: as it is written, because a kind is no variable."""
    if kind not in MODELS:
        what = f"Unknown kind `{kind}`" if kind else "`kind` is required"
        kinds = ", ".join(MODELS)
        faults.add(located.place_of(("kind",)), f"{what}. Kinds: {kinds}.")
        return None
    model, faulty = MODELS[kind], {place for place, _ in faults.found}
    try:
        return model.model_validate(located.plain())
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            path = tuple(fault["loc"])
            place = located.place_of(path)
            # A text without the value of its variable is not the fault of the model.
            if place not in faulty:
                faults.add(place, _sentence(model, path, fault["type"], fault["msg"]))
    return None


def _sentence(model: "type[Document]", path: tuple[object, ...], type_: str, words: str) -> str:
    member = ".".join(str(each) for each in path)
    if type_ == "extra_forbidden":
        fields = f" Fields: {', '.join(model.model_fields)}." if len(path) == 1 else ""
        return f"Unknown field `{member}`.{fields}"
    what = SENTENCES.get(type_) or words.removeprefix("Value error, ")
    return f"`{member}` {_lower(what)}." if member else f"{what[:1].upper()}{what[1:]}."


def _lower(words: str) -> str:
    return words if words.startswith("`") else words[:1].lower() + words[1:]


def _require_future_end(
    document: Document, located: Located, faults: Faults, *, now: datetime
) -> None:
    end = getattr(document, "expires_at", None)
    if end is not None and not now < end <= now + MAX_LIFE:
        text = f"`expires_at` must be in the future, at most {MAX_LIFE.days} days ahead."
        faults.add(located.place_of(("expires_at",)), text)


def _refuse_doubles(wanted: Iterable[Wanted], faults: Faults) -> None:
    seen: dict[str, FilePlace] = {}
    for each in wanted:
        if each.title in seen:
            faults.add(each.place, f"{each.written} is at {seen[each.title]} already.")
        seen.setdefault(each.title, each.place)
