"""Labels for images that are not of a project: mask rasters, and what their values mean."""

from collections.abc import Sequence
from pathlib import Path

from thalweg import params
from thalweg.errors import ImageError
from thalweg.manifest.card import ModelCard
from thalweg.params.masks import Masks
from thalweg.prepare.given import Labels

_RASTERS = ("*.tif", "*.tiff", "*.png", "*.jpg")


def labels_of(card: ModelCard, masks: Path, values: str | None, zero: str) -> Labels:
    """Masks that lie on images' ground.

    Args:
        card: Whose classes they name.
        masks: A raster, or a folder of rasters.
        values: `255=channel,…`; None: a value is the number of its class.
        zero: `background` or `unlabelled`.

    Raises:
        ImageError: There is no mask, or a value is given to no class.
        ParamsError: A value cannot be used.
    """
    if zero not in ("background", "unlabelled"):
        raise ImageError(f"--zero should be background or unlabelled, got '{zero}'; correct it")
    names = [info.name for info in card.classes]
    folder, patterns = (masks.parent, [masks.name]) if masks.is_file() else (masks, _found(masks))
    said = {
        "input": str(folder), "patterns": patterns, "match": "ground", "band": None, "crs": None, "vector": None,
        "zero": zero, "values": _values(values, names), "other": "error", "threshold": None, "encoder": None,
        "area": None, "outside": "unlabelled", "prior": None,
    }  # fmt: skip
    return Labels(params.parse(Masks, said, "masks", folder), folder)


def _found(folder: Path) -> list[str]:
    patterns = [pattern for pattern in _RASTERS if any(folder.glob(pattern))]
    if not patterns:
        raise ImageError(f"{folder} holds no mask ({', '.join(_RASTERS)}); give a raster of labels or a folder of such")
    return patterns


def _parted(pair: str) -> tuple[str, str, str]:
    return pair.partition("=")


def _values(given: str | None, names: Sequence[str]) -> dict[str, str]:
    if given is None:
        return {str(number): name for number, name in enumerate(names) if number}
    if not all(sign and value.strip() and name.strip() for value, sign, name in map(_parted, given.split(","))):
        raise ImageError(f"--values should be VALUE=CLASS,… such as 255={names[-1]}, got '{given}'; correct it")
    pairs = dict(each.partition("=")[::2] for each in given.split(","))
    if strange := [name for name in pairs.values() if name not in (*names, "unlabelled")]:
        raise ImageError(
            f"--values names '{strange[0]}', but the model's classes are {', '.join(names)}; give VALUE=CLASS,…, or "
            "VALUE=unlabelled"
        )
    return pairs
