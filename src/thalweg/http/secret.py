"""Texts that must not be seen: passwords, tokens, signatures."""

from collections.abc import Mapping


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
