"""Reading of CloudFormation's YAML, with its short forms such as `!Ref`."""

from pathlib import Path
from typing import Any, cast

import yaml
from samtranslator.yaml_helper import (  # type: ignore[import-untyped]
    intrinsics_multi_constructor,
)


class _Loader(yaml.CSafeLoader):
    """SAM's own loader is written in Python, and takes ten times as long."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def read_template(path: Path) -> dict[str, Any]:
    """The template in the file at `path`, with every `!Ref` as `{"Ref": ...}`."""
    return cast(dict[str, Any], yaml.load(path.read_text(), _Loader))  # noqa: S506 - a safe loader
