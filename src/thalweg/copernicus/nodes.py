"""Addresses of a product's single files: through Nodes over HTTPS, or as objects of the bucket `eodata`.

Source: Copernicus Data Space documentation, APIs/OData, "Listing product nodes", and APIs/S3.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from thalweg.copernicus.catalogue import Asks
from thalweg.errors import CatalogueError, ProductError
from thalweg.manifest.lock import LockedProduct

_BUCKET = "/eodata/"


def zip_url(base: str, product: LockedProduct) -> str:
    """Of the whole product."""
    return f"{base}/Products({product.id})/$value"


def file_url(base: str, product: LockedProduct, path: str) -> str:
    """Of one file by its path below the SAFE folder. Names stand without quotes, which the server refuses."""
    return f"{_node(base, product, path)}/$value"


def object_url(endpoint: str, product: LockedProduct, path: str) -> str:
    """Of one file as an object of the S3 store, path style.

    Raises:
        ProductError: The lock has no S3 path, and it cannot be told from the name.
    """
    if product.s3_path is None or not product.s3_path.startswith(_BUCKET) or ".." in product.s3_path.split("/"):
        raise ProductError(
            f"{product.name} has no path below {_BUCKET} in the lock (it has {product.s3_path!r}); run `thalweg lock` "
            "again or set fetch.options.backend to https"
        )
    return f"{endpoint}{quote(product.s3_path.rstrip('/'))}/{quote(path)}"


def list_sizes(session: Asks, base: str, product: LockedProduct, folder: str = "") -> dict[str, int]:
    """Name → bytes of what lies in a folder of a product (0 for a folder). Needs no account.

    Raises:
        CatalogueError: The answer is no listing.
        NotFoundError: There is no such product or folder.
    """
    url = f"{_node(base, product, folder)}/Nodes"
    answer = session.json("GET", url)
    rows = answer.get("result") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list) or not all(_is_node(row) for row in rows):
        raise CatalogueError(
            f"{url} answered without a list 'result' of nodes ({str(answer)[:120]}); try again later, or set "
            "fetch.options.whole_zip"
        )
    return {row["Name"]: row.get("ContentLength") or 0 for row in rows}


def _node(base: str, product: LockedProduct, path: str) -> str:
    parts = [f"{product.name}.SAFE", *(path.split("/") if path else [])]
    return f"{base}/Products({product.id})" + "".join(f"/Nodes({quote(part, safe='')})" for part in parts)


def _is_node(row: Any) -> bool:
    return isinstance(row, Mapping) and isinstance(row.get("Name"), str)
