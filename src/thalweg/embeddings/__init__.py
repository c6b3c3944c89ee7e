"""A table of chips with the vector that an encoder makes of each: GeoParquet, searched exactly, drawn in a plane."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from thalweg.errors import FeatureError

COLUMNS = ("scene", "date", "row", "col", "size", "valid_fraction", "label", "embedding")
"""Beside `geometry`, the chip's outline in degrees (none where its scene lies nowhere): `date` is the day of the image,
`label` the class that most of its labelled pixels have, or none."""
SCENES = "scenes"
"""Among the table's facts (`attrs`): the folder that its scenes were read from."""


def read_table(path: Path) -> geopandas.GeoDataFrame:
    """The table of an embedding.

    Raises:
        FeatureError: It is missing, or no such table.
    """
    if not path.is_file():
        raise FeatureError(f"{path} is missing; make it by `thalweg embed ENCODER build/scenes/<grid> -o {path}`")
    try:
        table = geopandas.read_parquet(path)
    except (ValueError, OSError) as error:
        raise FeatureError(
            f"{path} is no GeoParquet ({' '.join(str(error).split())}); make it by `thalweg embed`"
        ) from error
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise FeatureError(f"{path} has no column {', '.join(lacking)}; make it by `thalweg embed`")
    if table.empty:
        raise FeatureError(f"{path} has no row; make it of scenes with valid pixels by `thalweg embed`")
    return table


def matrix(table: geopandas.GeoDataFrame) -> np.ndarray:
    """(N, D) float32: the embeddings, less their mean, so that an angle between two tells what sets them apart."""
    found = np.stack(table["embedding"].to_list()).astype(np.float32)
    centred: np.ndarray = found - found.mean(0)
    return centred


def facts(table: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Encoder, hash of its weights, and folder of the scenes."""
    return {str(key): value for key, value in table.attrs.items()}
