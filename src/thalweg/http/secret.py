"""Texts that must not be seen: passwords, tokens, signatures."""

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

_LEAST = 4
"""Characters of a secret; shorter ones would blot out a whole answer."""
_LEAST_PART = 8
"""Of a part of a header, such as the token after `Bearer` or the key in a signature."""


class Secret:
    """A text that shows itself only when asked by name: in no repr, message or traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the request that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def revealed(texts: Mapping[str, str | Secret]) -> dict[str, str]:
    """The same with every secret laid open; only ever inside the call that sends it."""
    return {name: text.reveal() if isinstance(text, Secret) else text for name, text in texts.items()}


def without(body: bytes, secrets: Iterable[Secret]) -> bytes:
    """What a server answers, with these secrets and their parts blotted out where it repeats what it was sent."""
    whole = {secret.reveal() for secret in secrets}
    parts = {part for text in whole for part in re.split(r"[\s,=/]+", text) if len(part) >= _LEAST_PART}
    forms = {form for word in {text for text in whole if len(text) >= _LEAST} | parts
             for form in (word, quote(word, safe=""), quote_plus(word), json.dumps(word)[1:-1])}  # fmt: skip
    for form in sorted(forms, key=len, reverse=True):
        body = body.replace(form.encode("utf-8", "surrogateescape"), b"***")
    return body
