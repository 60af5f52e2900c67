"""One script of all modules of the console, so that a browser asks for one file.

Each module becomes a function that returns what it exports. Nothing else of it changes, and the
modules stay readable in the browser. https://tc39.es/ecma262/#sec-modules has more forms than the
ones here; any other form is an error.
"""

import re
from pathlib import Path

VENDORED = {
    "preact": "vendor/preact.js",
    "preact/hooks": "vendor/preact-hooks.js",
    "htm": "vendor/htm.js",
}
"""The libraries by the names that modules import them by, and their files."""

_IMPORT = re.compile(
    r'^import\s*(?:(?P<default>\w+)|\{(?P<names>[^}]*)\})\s*from\s*"(?P<module>[^"]+)";?', re.M
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (?P<name>\w+))", re.M)
_EXPORTED_NAMES = re.compile(r"\bexport\s*\{(?P<names>[^}]*)\};?")
_EXPORTED_DEFAULT = re.compile(r"\bexport default (?=function\b)")
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*", re.M)
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*\n?", re.M)


class UnreadableModule(Exception):
    """A module has a form of import or export that is not read here, or imports in a circle."""


def joined(folder: Path, entry: str) -> str:
    """The script of the module `entry` in `folder` and of all that it imports.

    Raises `UnreadableModule`.
    """
    parts: dict[str, str] = {}

    def add(file: str, path: tuple[str, ...]) -> None:
        if file in path:
            raise UnreadableModule(f"a circle of imports: {' → '.join((*path, file))}")
        if file in parts:
            return
        source = (folder / file).read_text()
        for found in _IMPORT.finditer(source):
            add(_file_of(found["module"], importer=file), (*path, file))
        parts[file] = _as_function(source, file)

    add(entry, ())
    modules = "\n".join(parts.values())
    return f'"use strict";\nconst $modules = {{}};\n{modules}\n'


def _as_function(source: str, file: str) -> str:
    exported = {found["name"]: found["name"] for found in _EXPORT.finditer(source)}
    for found in _EXPORTED_NAMES.finditer(source):
        exported |= {new or old: old for old, new in _names(found["names"])}
    if _EXPORTED_DEFAULT.search(source):
        exported["default"] = "$default"
    body = _SOURCE_MAP.sub("", source)
    body = _IMPORT.sub(lambda found: _constant(found, importer=file), body)
    body = _EXPORTED_DEFAULT.sub("const $default = ", _EXPORTED_NAMES.sub("", body))
    body = _EXPORT.sub("", body)
    if other := _OTHER_FORM.search(body):
        raise UnreadableModule(f"{file}: {other[0]}")
    returned = ", ".join(f"{new}: {old}" for new, old in exported.items())
    return f'$modules["{file}"] = (() => {{\n{body}\nreturn {{ {returned} }};\n}})();'


def _constant(found: re.Match[str], *, importer: str) -> str:
    if found["default"]:
        names = f"default: {found['default']}"
    else:
        names = ", ".join(f"{old}: {new or old}" for old, new in _names(found["names"]))
    return f'const {{ {names} }} = $modules["{_file_of(found["module"], importer=importer)}"];'


def _names(text: str) -> list[tuple[str, str]]:
    """The names in braces, each with the name after `as`, which may be empty."""
    parts = (part.split() for part in text.split(",") if part.strip())
    return [(words[0], words[2] if len(words) == 3 else "") for words in parts]


def _file_of(module: str, *, importer: str) -> str:
    if module in VENDORED:
        return VENDORED[module]
    if module.startswith("./"):
        return module.removeprefix("./")
    raise UnreadableModule(f"{importer} imports {module}, which is neither vendored nor a file")
