"""Where a map comes from, as tags of its rasters: commit, params, products, and each member's card and weights."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import thalweg
from thalweg.manifest.card import CARD, WEIGHTS
from thalweg.manifest.provenance import git_commit


def provenance_tags(params: Any, products: Sequence[str], members: Mapping[str, Path]) -> dict[str, str]:
    """GeoTIFF tags; those of members are `<member>:<sha256>`, separated by spaces.

    Args:
        params: What the map was asked to be, plain JSON.
        products: Those on the map.
        members: Member → its model directory.
    """
    return {
        "THALWEG_VERSION": thalweg.__version__,
        "GIT_COMMIT": git_commit() or "unknown",
        "PARAMS_SHA256": params_sha256(params),
        "PRODUCTS": " ".join(products),
        "MEMBERS": " ".join(f"{name}:{file_sha256(folder / CARD)}" for name, folder in members.items()),
        "WEIGHTS": " ".join(f"{name}:{file_sha256(folder / WEIGHTS)}" for name, folder in members.items()),
    }


def params_sha256(params: Any) -> str:
    """Of params as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Of a file's bytes, read piecewise."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
