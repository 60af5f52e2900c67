"""Files that only their owner can read, written so that a reader sees the old or the new text."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from byline_client.errors import ClientError


def write_private(path: Path, text: str) -> None:
    """Replace the file at `path` by one with mode 0600. Its folder is made with mode 0700.

    Raises `ClientError`, which names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp creates with 0600, whatever the umask.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise ClientError(f"Cannot write {path}: {error.strerror}.") from None


def read_private(path: Path) -> str | None:
    """The text of a file; None if there is no such file. Raises `ClientError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ClientError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ClientError(f"Cannot read {path}: {error.strerror}.") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, so that one process at a time does what is in the block.

    Without file locks (Windows) the block runs unlocked. Raises `ClientError`.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ClientError(f"Cannot lock {path}: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
