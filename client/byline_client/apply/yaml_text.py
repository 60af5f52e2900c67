"""YAML text as located values. Tags, aliases and repeated names are refused.

Only `true`, `false`, `null` and decimal integers are not texts, as in YAML 1.2. In YAML 1.1, `no`
would be false, and `012` would be 10.
"""

import re
from collections.abc import Iterator

import yaml

from byline_client.apply.located import FilePlace, Located, Scalar, refused

MAX_CHARACTERS = 1_048_576
MAX_DEPTH = 32

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_documents(text: str, *, file: str) -> list[Located]:
    """The documents of a YAML text. Empty documents are left out. Raises `Misused`."""
    if len(text) > MAX_CHARACTERS:
        raise refused(FilePlace(file, 1), f"The file has more than {MAX_CHARACTERS} characters.")
    try:
        _refuse_what_documents_lack(text, file)
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise refused(FilePlace(file, line), f"This is not YAML: {error.problem}.") from None
    except yaml.YAMLError:
        raise refused(FilePlace(file, 1), "The file has characters that YAML forbids.") from None
    found = [_located(node, file) for node in nodes]
    return [each for each in found if each.value is not None]


def _refuse_what_documents_lack(text: str, file: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = _place(event, file)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise refused(place, "The values are nested too deeply.")
        if isinstance(event, yaml.AliasEvent):
            raise refused(place, f"Aliases (`*{event.anchor}`) are not supported. Use a patch.")
        if getattr(event, "tag", None) is not None:
            raise refused(place, "Tags (`!…`) are not supported.")


def _located(node: yaml.Node, file: str) -> Located:
    place = _place(node, file)
    if isinstance(node, yaml.MappingNode):
        return Located(dict(_members(node, file)), place)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(each, file) for each in node.value], place)
    return Located(_scalar(node), place)


def _members(node: yaml.MappingNode, file: str) -> Iterator[tuple[str, Located]]:
    seen = set()
    for key, value in node.value:
        place = _place(key, file)
        if not isinstance(key, yaml.ScalarNode):
            raise refused(place, "A name must be a text.")
        if key.value in seen:
            raise refused(place, f"`{key.value}` is there twice.")
        seen.add(key.value)
        found = _located(value, file)
        # The line of the name, also for a value that begins on the next line.
        yield key.value, Located(found.value, place)


def _place(found: yaml.Node | yaml.Event, file: str) -> FilePlace:
    mark = found.start_mark
    return FilePlace(file, 1 if mark is None else mark.line + 1)


def _scalar(node: yaml.Node) -> Scalar:
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
