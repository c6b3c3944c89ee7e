"""Whole scenes that a rule of the params gives to a part, before anything is dealt."""

import fnmatch
from collections.abc import Mapping

from thalweg.errors import SplitError
from thalweg.manifest.rounds import FROM_A_ROUND
from thalweg.manifest.scene import Scene
from thalweg.params.split import Split


def apply_rules(scenes: Mapping[str, Mapping[str, Scene]], split: Split, every: bool = True) -> dict[str, str]:
    """Scene name → part, for the scenes that a rule of the params assigns; the first rule that fits counts.

    Args:
        scenes: By grid and name.
        split: Its rules.
        every: Whether each rule must fit some scene; not so where some of the grids are left out.

    Raises:
        SplitError: A rule fits no scene.
    """
    everything = [scene for members in scenes.values() for scene in members.values()]
    ruled: dict[str, str] = {}
    for number, rule in enumerate(split.rules):
        fits = [scene.name for scene in everything if _fits(scene, rule.scene, rule.mask)]
        if not fits and every:
            raise SplitError(
                f"split.rules.{number} ({rule.scene or rule.mask}) fits none of {len(everything)} scenes, "
                f"such as {everything[0].name}; correct the glob or remove the rule"
            )
        ruled = {**dict.fromkeys(fits, rule.part), **ruled}
    return ruled


def is_round_mask(name: str) -> bool:
    """Whether a mask that a scene's record names came from an earlier round: rules on masks mean drawn ones."""
    return name.startswith(FROM_A_ROUND)


def _fits(scene: Scene, name: str | None, mask: str | None) -> bool:
    if name is not None:
        return fnmatch.fnmatchcase(scene.name, name)
    return any(fnmatch.fnmatchcase(path, mask or "") for path in scene.record.masks if not is_round_mask(path))
