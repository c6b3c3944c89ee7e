"""What a run says, kept in `console.log` while it is shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


class Tee:
    """A stream that also writes to a file; all else is the stream's own."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        """Shows and keeps; what held on to this stream when the run was over shows alone, as handlers of logs do."""
        if not self._file.closed:
            self._file.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        """Both."""
        if not self._file.closed:
            self._file.flush()
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Keeps what Python writes to standard output and error inside, line by line."""
    before = sys.stdout, sys.stderr
    with path.open("a", encoding="utf-8", buffering=1) as file:
        sys.stdout, sys.stderr = (Tee(stream, file) for stream in before)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
