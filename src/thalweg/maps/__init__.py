"""What a map is on disk: probabilities, classes and uncertainty as COGs with colours, names, provenance and styles."""

from thalweg.maps.held import (
    BLOCK_PX,
    BYTE_NODATA,
    BYTE_SCALE,
    PROB_NODATA,
    PROB_SCALE,
    create_probs,
    dequantise,
    quantise,
    to_bytes,
    to_labels,
)
from thalweg.maps.write import DOUBTS, Look, Parts, write_map

__all__ = [
    "BLOCK_PX",
    "BYTE_NODATA",
    "BYTE_SCALE",
    "DOUBTS",
    "PROB_NODATA",
    "PROB_SCALE",
    "Look",
    "Parts",
    "create_probs",
    "dequantise",
    "quantise",
    "to_bytes",
    "to_labels",
    "write_map",
]
