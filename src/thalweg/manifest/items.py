"""STAC items in a products lock: which of their files are wanted, and which radiometric offset was concluded."""

import json
from typing import Literal

from pydantic import Field, ValidationError

from thalweg.errors import LockError
from thalweg.manifest import Record
from thalweg.manifest.lock import LockedProduct

SCALE = 1e-4
"""Reflectance per digital number. Source: Sentinel-2 L2A, BOA_QUANTIFICATION_VALUE 10000."""


class LockedAsset(Record):
    """One file of an item."""

    band: str | None
    """None for metadata."""
    path: str = Field(pattern=r"^\w[\w.+-]*(/\w[\w.+-]*)*$")
    """Below the product's folder, so that a lock cannot write elsewhere."""
    url: str
    """Without any signature or token."""
    size: int | None
    """Bytes, where the catalogue states them."""
    checksum: str | None
    """`<algorithm>:<hexadecimal>`, where the catalogue states one."""


class ItemFacts(Record):
    """What `LockedProduct.facts` holds of an item."""

    form: Literal["safe", "folder"]
    offset: float | None
    """Added to digital numbers before scaling; None where the product's own XML says it when it is read."""
    offset_from: str
    """What that is concluded from, and what contradicts it."""
    assets: tuple[LockedAsset, ...]


def read_facts(product: LockedProduct) -> ItemFacts:
    """The facts of an item in a lock.

    Raises:
        LockError: They do not fit, because another version or a hand wrote them.
    """
    try:
        return ItemFacts.model_validate_json(json.dumps(product.facts))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise LockError(f"{product.name}: its lock does not fit at 'facts.{where}' ({fault['msg']}); run "
                        "`thalweg lock`") from error  # fmt: skip
