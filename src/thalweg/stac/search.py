"""Searching a STAC API by pystac-client: every page, asked again where the server is busy."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import requests
from pystac.errors import STACError
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry

from thalweg.copernicus.search import Search, read_area
from thalweg.errors import CatalogueError
from thalweg.http.policy import Policy

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_MOST_ITEMS = 10_000
"""A search that finds more is a mistake in the recipe."""
_FAULTS = (APIError, STACError, requests.RequestException, json.JSONDecodeError, NotImplementedError, KeyError,
           TypeError)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One search in one catalogue."""

    url: str
    """Of the API's landing page."""
    collection: str
    tile_property: tuple[str, str]
    """Property and what stands before the tile's name in it."""
    search: Search


def iter_items(question: Question, policy: Policy) -> Iterator[dict[str, Any]]:
    """Items as JSON, each once, page by page.

    Raises:
        CatalogueError: The API is not one, refuses the search, stays away, or finds more than anyone wants.
    """
    seen: set[str] = set()
    area = read_area(question.search.area)
    try:
        client = Client.open(question.url, stac_io=_io(policy))
        for query, (first, last) in product(_queries(question), question.search.dates):
            search = client.search(
                method="POST", collections=[question.collection], query=query or None,
                bbox=None if area is None else area.bounds, datetime=f"{first}T00:00:00Z/{last}T23:59:59Z",
                max_items=_MOST_ITEMS + 1,
            )  # fmt: skip
            for item in search.items_as_dicts():
                if item.get("id") not in seen and _fits(item, question):
                    seen.add(str(item.get("id")))
                    yield item
                if len(seen) > _MOST_ITEMS:
                    raise CatalogueError(
                        f"{question.url} finds more than {_MOST_ITEMS} items; narrow fetch.options.search"
                    )
    except _FAULTS as error:
        raise CatalogueError(
            f"{question.url} cannot be searched for {question.collection}: {_short(error)}; correct fetch.options, or "
            "try again later"
        ) from error


def _queries(question: Question) -> list[dict[str, Any]]:
    most = question.search.cloud_cover_max
    clear = {"eo:cloud_cover": {"lte": most}} if most < 100 else {}
    key, prefix = question.tile_property
    tiles = [f"{prefix}{tile.removeprefix('T')}" for tile in question.search.tiles]
    return [clear | {key: {"eq": tile}} for tile in tiles] or [clear]


def _fits(item: dict[str, Any], question: Question) -> bool:
    """Asked again here, because an API may overlook what it does not know."""
    properties = item.get("properties", {})
    key, prefix = question.tile_property
    tile = f"T{str(properties.get(key, '')).removeprefix(prefix)}"
    return not question.search.tiles or tile in question.search.tiles


def _io(policy: Policy) -> StacApiIO:
    retry = Retry(total=policy.attempts - 1, backoff_factor=policy.backoff_s, status_forcelist=_TRANSIENT,
                  allowed_methods=None, raise_on_status=False, respect_retry_after_header=True)  # fmt: skip
    return StacApiIO(timeout=(policy.connect_s, policy.read_s), max_retries=retry)


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:300]
