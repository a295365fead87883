"""The base of every part's configuration: frozen, validated, and able to explain its fields."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

P = TypeVar("P", bound="Part")


class Part(BaseModel):
    """Configuration of one part.  Frozen; unknown fields are refused; a docstring below a field documents it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    def with_(self: P, path: str, value: Any) -> P:
        """A copy whose field at the dotted `path` holds `value`, validated as if it had been written there.

        Raises KeyError when the path names no field, pydantic.ValidationError when the value does not fit.
        """
        name, _, rest = path.partition(".")
        if name not in type(self).model_fields:
            raise KeyError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(type(self).model_fields)}")
        if rest:
            child = getattr(self, name)
            if not isinstance(child, Part):
                raise KeyError(f"{type(self).__name__}.{name} is {child!r}: it has no field {rest!r}")
            value = child.with_(rest, value)
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        return type(self).model_validate({**fields, name: value})

    def digest(self) -> str:
        """Eight hexadecimal digits that name the whole tree: equal trees, equal digits."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]
