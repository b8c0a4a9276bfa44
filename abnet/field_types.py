"""What kind of value each field of a dataclass takes, as its annotation says."""

from __future__ import annotations

import types
import typing
from numbers import Integral, Real
from typing import Any

from abnet.errors import AbNetError

KINDS: dict[type, tuple[type, str]] = {  # by annotation: what is one, what it is called
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a string"),
}


def check_types(values: Any) -> None:
    """Sees to it that no field holds what would be taken for something else, such as "no" for True.

    Args:
        values: a dataclass whose fields are truth values, numbers and strings, or `None`.

    Raises:
        AbNetError: a field has another kind of value than its annotation says.
    """
    for name, (kinds, optional) in _annotations(type(values)).items():
        value = getattr(values, name)
        if value is None and optional:
            continue
        if isinstance(value, bool) and bool not in kinds:
            is_one = False
        else:
            is_one = isinstance(value, tuple(KINDS[kind][0] for kind in kinds))
        if not is_one:
            called = " or ".join(KINDS[kind][1] for kind in kinds)
            raise AbNetError(f"`{name}` must be {called}, but is {value!r} instead.")


def _annotations(kind: type[Any]) -> dict[str, tuple[tuple[type, ...], bool]]:
    """Of each field, the kinds it may have, and whether it may be `None`."""
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        kinds = typing.get_args(hint) if is_union else (hint,)
        found[name] = (tuple(one for one in kinds if one in KINDS), type(None) in kinds)
    return found
