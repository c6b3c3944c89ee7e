"""Stage `fetch`."""

from pathlib import Path

from thalweg import elevation_tiles, mask_catalogue, params, sources, stage
from thalweg.manifest.products import write_products
from thalweg.params.fetch import Fetch

STORE = Path(".cache/products")


def main() -> None:
    """Delivers the products, heights and masks that `fetch` asks for into build/raw, as links into .cache/products.

    In: the section `fetch` of params.yaml and the two paths that it names. Out: build/raw with an index, products.json.
    """
    options = params.load(Fetch)
    with stage.outs("build/raw") as [raw]:
        products = sources.fetch_products(options, raw, STORE)
        heights = elevation_tiles.fetch_elevation(options.elevation, raw, STORE)
        write_products([*products, *heights], raw)
        mask_catalogue.fetch_masks(Path(options.masks), raw, STORE)


if __name__ == "__main__":
    stage.run(main)
