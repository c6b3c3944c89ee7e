"""Section `round`: what an earlier round of training hands to this one."""

from typing import ClassVar

from thalweg.params import Section


class Round(Section):
    """The labels that an earlier round's map gives, and the split under which it was made."""

    section: ClassVar[str] = "round"

    input: str
    """The one path that DVC tracks: a folder that `thalweg pseudo-label` wrote, whose split is kept and whose masks
    label ground that no drawn mask labels; or any file that does not change (masks/first.yaml), for a first round."""
