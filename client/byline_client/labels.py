"""Labels as options of commands have them."""

from collections.abc import Iterable

from byline_client.errors import Misused


def labels_of(texts: Iterable[str], *, option: str) -> dict[str, str]:
    """The labels of texts KEY=VALUE. Raises `Misused`, which names the option."""
    labels = {}
    for text in texts:
        key, joint, value = text.partition("=")
        if not joint or not key:
            raise Misused(f"{option} must be KEY=VALUE.")
        labels[key] = value
    return labels
