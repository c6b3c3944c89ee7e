"""What makes a pixel unusable, where an image does not bring what the rules read."""

import warnings

from thalweg.errors import DegradedDataWarning
from thalweg.manifest.products import Product
from thalweg.params.grids import GridParams, Valid
from thalweg.preprocess.validity import SCL

_NONE = Valid(scl=(), product_masks=False, cloud_probability=None, cloud_buffer_m=0.0)


def with_rules(product: Product, grid: GridParams) -> GridParams:
    """The grid, for an image: without its rules on clouds where the image brings no scene classes, and a warning.

    A SAFE product brings what it has, and preprocess says what it lacks.
    """
    if product.form == "safe" or SCL in product.bands or grid.valid == _NONE:
        return grid
    warnings.warn(
        f"{product.name} brings no scene classes ({SCL}), so that clouds and shadows are mapped as they look; name "
        f"such a band by --bands …,{SCL}=N",
        DegradedDataWarning, stacklevel=2)  # fmt: skip
    return grid.model_copy(update={"valid": _NONE})
