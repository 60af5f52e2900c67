"""Kustomizations: `kustomization.yaml` with resources, and patches that are merged into them.

A patch is a document with the kind and the name of the one to change. Mappings are merged, other
values replace those before, null removes a member, `$patch: delete` removes the document.
"""

from dataclasses import replace
from pathlib import Path

from byline_client.apply.files import KUSTOMIZATIONS, read_file, read_folder
from byline_client.apply.located import FilePlace, Located, refused

WHOLE = frozenset({"token", "principal"})
"""Members that a patch replaces as a whole, because each has one of several forms."""

_FIELDS = ("resources", "patches", "kind", "apiVersion")
_DIRECTIVE = "$patch"


def read_kustomization(folder: Path, *, outer: tuple[Path, ...] = ()) -> list[Located]:
    """The documents of a kustomization, with its patches merged. Raises `Misused`.

    `outer`: the folders of the kustomizations that include this one.
    """
    file = _file_in(folder)
    if file is None:
        raise refused(FilePlace(str(folder), 1), f"The folder has no {KUSTOMIZATIONS[0]}.")
    documents = read_file(file)
    if len(documents) != 1 or not documents[0].members:
        raise refused(FilePlace(str(file), 1), "A kustomization is one document with `resources`.")
    document = documents[0]
    for name, member in document.members.items():
        if name not in _FIELDS:
            text = f"Unknown field `{name}`. Fields: resources, patches."
            raise refused(member.place, text)
    within = (*outer, folder.resolve())
    found: list[Located] = []
    for entry in _entries(document, "resources"):
        found += _resource(_path(folder, entry), entry.place, within)
    for entry in _entries(document, "patches"):
        for patch in read_file(_path(folder, entry)):
            found = patched(found, patch)
    return found


def patched(documents: list[Located], patch: Located) -> list[Located]:
    """The documents with a patch merged into the one of its kind and name. Raises `Misused`.

    Where several projects have such a document, the patch's `project` says which one.
    """
    kind, name, project = (patch.text(member) for member in ("kind", "name", "project"))
    if not kind or not name:
        raise refused(patch.place, "A patch needs `kind` and `name`.")
    same = [each for each in documents if (each.text("kind"), each.text("name")) == (kind, name)]
    if len(same) > 1:
        same = [each for each in same if each.text("project") == project]
    if len(same) != 1:
        what = "several documents" if same else "no document"
        raise refused(patch.place, f"The patch is for {what}: {kind} `{name}`.")
    [before] = same
    directive = patch.members.get(_DIRECTIVE)
    if directive is not None and directive.value != "delete":
        raise refused(directive.place, "`$patch` must be `delete`.")
    after = [] if directive else [merged(before, patch)]
    return [new for each in documents for new in (after if each is before else [each])]


def merged(before: Located, patch: Located) -> Located:
    """A value after a patch. Members that the patch does not name stay as they are."""
    if not isinstance(before.value, dict) or not isinstance(patch.value, dict):
        return patch
    members = dict(before.value)
    for name, change in patch.value.items():
        if change.value is None:
            members.pop(name, None)
        elif name in members and name not in WHOLE:
            members[name] = merged(members[name], change)
        else:
            members[name] = change
    return replace(before, value=members)


def _resource(path: Path, place: FilePlace, within: tuple[Path, ...]) -> list[Located]:
    if not path.is_dir():
        return read_file(path)
    if _file_in(path) is None:
        return read_folder(path)
    if path.resolve() in within:
        raise refused(place, f"{path} includes itself.")
    return read_kustomization(path, outer=within)


def _file_in(folder: Path) -> Path | None:
    return next((folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()), None)


def _entries(document: Located, name: str) -> list[Located]:
    """The entries of a list of paths. A patch may be `{path: …}`, as kustomize has it."""
    listed = document.members.get(name)
    if listed is None:
        return []
    if not isinstance(listed.value, list):
        raise refused(listed.place, f"`{name}` must be a list of paths.")
    entries = []
    for entry in listed.value:
        path = (
            entry.members["path"] if name == "patches" and [*entry.members] == ["path"] else entry
        )
        if not isinstance(path.value, str) or not path.value:
            raise refused(entry.place, f"An entry of `{name}` must be a path.")
        entries.append(path)
    return entries


def _path(folder: Path, entry: Located) -> Path:
    text = str(entry.value)
    if ":" in text or text.startswith(("/", "\\", "~")) or "?" in text:
        raise refused(entry.place, f"`{text}` must be a path relative to the kustomization.")
    path = folder / text
    if not path.exists():
        raise refused(entry.place, f"`{text}` does not exist.")
    return path
