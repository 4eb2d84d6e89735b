"""What the parts of the configuration are made of: a section is immutable, documented, and refuses unknown keys."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, dataclass_transform

from pydantic import Field
from pydantic.dataclasses import dataclass

from genre.component import CONFIG, Slot

Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, field))
def section(cls: type[Any]) -> Any:
    """A part of the configuration: immutable, unknown keys refused, every field documented."""
    return dataclass(cls, config=CONFIG, kw_only=True, frozen=True)


def slot(kind: str, default: Any) -> Any:
    """A field's default: the component that ``default`` names, built when it is first needed."""
    if isinstance(default, list):
        return field(default_factory=lambda: [Slot(kind).build(one) for one in default])
    return field(default_factory=lambda: Slot(kind).build(default))
