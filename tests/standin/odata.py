"""`$filter` of OData as far as CDSE's documentation shows it for Sentinel-2: a small parser into predicates over rows."""

import operator
import re
from collections.abc import Callable
from typing import Any

import shapely
from shapely.geometry import shape

Predicate = Callable[[dict[str, Any]], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<area>geography'SRID=4326;[^']*')|(?P<text>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_@][\w./-]*(?:/any)?)|(?P<mark>[(),:=]))"
)
_COMPARE = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
            "ge": operator.ge}  # fmt: skip
_COLLECTIONS = {"SENTINEL-1", "SENTINEL-2", "SENTINEL-3"}


class FilterError(ValueError):
    """The filter is one that CDSE answers with 400."""


def parse_filter(text: str) -> Predicate:
    """The predicate that a `$filter` means."""
    parser = _Parser(text)
    found = parser.either()
    parser.expect("")
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise FilterError(f"Invalid filter at: {text[place : place + 20]}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    def either(self) -> Predicate:
        one = self.both()
        while self.take("or"):
            left, right = one, self.both()
            one = lambda row, left=left, right=right: left(row) or right(row)  # noqa: E731
        return one

    def both(self) -> Predicate:
        one = self.single()
        while self.take("and"):
            left, right = one, self.single()
            one = lambda row, left=left, right=right: left(row) and right(row)  # noqa: E731
        return one

    def single(self) -> Predicate:
        if self.take("not"):
            inner = self.single()
            return lambda row: not inner(row)
        if self.take("("):
            inner = self.either()
            self.expect(")")
            return inner
        kind, word = self.next()
        if kind != "word":
            raise FilterError(f"Invalid field: {word}")
        if word in ("contains", "startswith", "endswith"):
            return self.call(word)
        if word == "OData.CSC.Intersects":
            return self.intersects()
        if word.startswith("Attributes/"):
            return self.attribute(word)
        return self.compare(lambda row: _field(row, word), word)

    def call(self, name: str) -> Predicate:
        self.expect("(")
        field = self.next()[1]
        self.expect(",")
        text = _text(self.next())
        self.expect(")")
        test = {"contains": lambda a: text in a, "startswith": lambda a: a.startswith(text),
                "endswith": lambda a: a.endswith(text)}[name]  # fmt: skip
        return lambda row: test(_field(row, field))

    def intersects(self) -> Predicate:
        for mark in ("(", "area", "="):
            self.expect(mark)
        kind, text = self.next()
        if kind != "area":
            raise FilterError("Invalid geometry")
        try:
            area = shapely.from_wkt(text.partition(";")[2][:-1])
        except shapely.errors.ShapelyError as error:
            raise FilterError("Invalid geometry") from error
        if not area.is_valid:
            raise FilterError("Invalid geometry")
        self.expect(")")
        return lambda row: row["GeoFootprint"] is not None and area.intersects(shape(row["GeoFootprint"]))

    def attribute(self, word: str) -> Predicate:
        found = re.fullmatch(r"Attributes/OData\.CSC\.(\w+)Attribute/any", word)
        if found is None:
            raise FilterError(f"Invalid attribute: {word}")
        for mark in ("(", "att", ":", "att/Name", "eq"):
            self.expect(mark)
        name, kind = _text(self.next()), found[1]
        for mark in ("and", f"att/OData.CSC.{kind}Attribute/Value"):
            self.expect(mark)
        test = self.compare(lambda row: _attribute(row, name, kind), name)
        self.expect(")")
        return test

    def compare(self, value: Callable[[dict[str, Any]], Any], what: str) -> Predicate:
        word, (kind, text) = self.next()[1], self.next()
        if word not in _COMPARE:
            raise FilterError(f"Invalid operator: {word}")
        wanted: Any = float(text) if kind == "number" else text.rstrip("Z") if kind == "time" else _text((kind, text))
        if what == "Collection/Name" and wanted not in _COLLECTIONS:
            raise FilterError(f"Invalid value: Collection name: {wanted}")

        def test(row: dict[str, Any]) -> bool:
            found = value(row)
            if kind == "time" and found is not None:
                found = _micro(found)
                return bool(_COMPARE[word](found, _micro(wanted)))
            return found is not None and bool(_COMPARE[word](found, wanted))

        return test

    def next(self) -> tuple[str, str]:
        return self.tokens.pop(0) if self.tokens else ("end", "")

    def take(self, word: str) -> bool:
        if self.tokens and self.tokens[0][1] == word:
            self.tokens.pop(0)
            return True
        return False

    def expect(self, word: str) -> None:
        kind, found = self.next()
        if found != word:
            raise FilterError(f"Invalid filter: {word or 'end'} expected instead of {found or kind}")


def _text(token: tuple[str, str]) -> str:
    kind, text = token
    if kind != "text":
        raise FilterError(f"Invalid value: {text}")
    return text[1:-1].replace("''", "'")


def _micro(time: str) -> str:
    whole, _, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{fraction.ljust(6, '0')[:6]}"


def _field(row: dict[str, Any], path: str) -> Any:
    if path == "Collection/Name":
        return "SENTINEL-2"
    found: Any = row
    for part in path.split("/"):
        if not isinstance(found, dict) or part not in found:
            raise FilterError(f"Invalid field: {path}")
        found = found[part]
    return found


def _attribute(row: dict[str, Any], name: str, kind: str) -> Any:
    return next((one["Value"] for one in row["Attributes"] if (one["Name"], one["ValueType"]) == (name, kind)), None)
