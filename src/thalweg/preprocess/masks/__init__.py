"""Labels of scenes: from rasters, vectors or a product's own band, in any CRS, onto the scene's grid as class ids.

What a pixel of a scene is, the first rule that speaks:

1. Ground outside the polygons of `masks.area`, where the params name one, is unlabelled, whatever masks say (but 5).
2. What a mask says of it by a value, a colour or a feature is looked up in `values` (or the label encoder); what is
   not listed there follows `other`. NaN is unlabelled, and so is what a raster tags as nodata, unless it is 0 or
   listed; the value 0 is what `zero` says, whatever the tag. Of several features of a file the later counts, of
   several files the first by name that labels a pixel; pixels to which two give different classes are counted.
3. Ground without a feature is what `zero` says, where a file of vectors covers it: the whole of every scene on which
   one of its features lies, or whose name it carries.
4. Ground that no mask covers (a raster covers its own rectangle, but for transparent pixels) is what `outside` says. A
   scene that no mask reaches has labels only where an area lies on it and `outside` is background.

5. What is unlabelled by all that may have a label of an earlier round's map (`round.input`): drawn masks always win.

So the three absences stay apart: no measurement is said by the image and valid.tif, never by the mask; unlabelled is
255; background is class 0, of which with `zero: positive_unlabelled` a share (`prior`) is not background.
"""

from collections.abc import Mapping
from pathlib import Path

from thalweg.grid import Grid
from thalweg.manifest.rounds import RoundFolder
from thalweg.params.classes import Classes
from thalweg.params.masks import Masks
from thalweg.preprocess.masks.earlier import read_earlier
from thalweg.preprocess.masks.files import read_areas, read_mask_files
from thalweg.preprocess.masks.match import SceneMasks, mask_identity, matched
from thalweg.preprocess.masks.meaning import read_meaning
from thalweg.preprocess.masks.place import onto_grid
from thalweg.preprocess.masks.union import write_mask

__all__ = ["SceneMasks", "find_masks", "mask_identity", "onto_grid", "write_mask"]


def find_masks(masks: Masks, classes: Classes, folder: Path, scenes: Mapping[str, Grid],
               earlier: RoundFolder | None = None) -> dict[str, SceneMasks]:  # fmt: skip
    """Scene → all that decides its labels.

    Args:
        masks: The params.
        classes: The legend.
        folder: `masks.input`.
        scenes: Scene → its grid.
        earlier: What an earlier round hands over, if there was one.

    Raises:
        MaskError: A pattern finds nothing, a file is no mask, or none belongs to a scene.
        ParamsError: A value is given a class that is not in the legend, or the params lack what a file needs said.
        RasterError: A mask cannot be read or has no CRS.
        RoundError: The earlier round had other classes.
    """
    if earlier:
        earlier.check_classes(classes.names)
    meaning = read_meaning(masks, classes, folder)
    return matched(masks, meaning, read_mask_files(masks, folder), read_areas(masks, folder), scenes,
                   read_earlier(earlier))  # fmt: skip
