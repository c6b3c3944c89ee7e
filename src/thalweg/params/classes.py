"""Section `classes`: what the models tell apart."""

from typing import ClassVar

from pydantic import Field, model_validator

from thalweg.classes import IGNORE, ClassInfo
from thalweg.params import Section


class Classes(Section):
    """The classes in order of their ids."""

    section: ClassVar[str] = "classes"

    legend: tuple[ClassInfo, ...] = Field(min_length=2, max_length=IGNORE - 1)
    """Id = place in the list. Id 0 is the background where there is one."""

    @model_validator(mode="after")
    def _distinct(self) -> "Classes":
        if len(set(self.names)) != len(self.names):
            raise ValueError("class names must differ")
        if taken := sorted({"unlabelled", "error"} & {*self.names}):
            raise ValueError(f"'{taken[0]}' is a word of masks.other and masks.values; name the class otherwise")
        if "background" in self.names[1:]:
            raise ValueError("the class 'background' must come first, since id 0 is what masks call background")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order of id."""
        return tuple(info.name for info in self.legend)

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.legend)
