"""Source `local`: the user's own products and rasters below one folder, linked, never moved or changed."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from thalweg.errors import ProductError
from thalweg.layout import Layout, link_found
from thalweg.manifest.products import Product
from thalweg.params import Section


class Options(Section):
    """The user's own files: `fetch.options` of the source `local`."""

    section: ClassVar[str] = "fetch"

    products: tuple[Layout, ...] = Field(min_length=1)


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:  # noqa: ARG001
    """Links every product that `fetch.options.products` describes from `given` into `raw/products`.

    Args:
        options: What to look for.
        given: `fetch.input`, the folder to look in.
        raw: Folder to fill.
        store: Not needed: the user's files are already on this machine.

    Raises:
        ProductError: The folder is missing or empty, a pattern finds no product, two products have one name, or a zip
            is not whole.
        ParamsError: A pattern leaves the folder.
    """
    if not given.is_dir() or not any(path for path in given.iterdir() if path.name != ".gitignore"):
        raise ProductError(
            f"{given}/ holds no products; put SAFE products or rasters there, describe them under "
            "fetch.options.products in params.yaml, and track them with `dvc add data` (or set fetch.source to sample)"
        )
    return link_found(options.products, given, raw)
