"""What kind of value each field of a dataclass takes, as its annotation says."""

from __future__ import annotations

import types
import typing
from numbers import Integral, Real
from typing import Any

from abnet.errors import AbNetError

KINDS: dict[type, tuple[type, str]] = {  # by annotation: what is one, what it is called
    bool: (bool, "true or false"),
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
    for name, hint in typing.get_type_hints(type(values)).items():
        check_type(f"`{name}`", getattr(values, name), hint)


def check_type(called: str, value: Any, hint: Any) -> None:
    """The same of one value.

    Args:
        called: how the message calls it.
        value: to look at.
        hint: its annotation.

    Raises:
        AbNetError: it is of another kind.
    """
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    hints = typing.get_args(hint) if is_union else (hint,)
    if value is None and type(None) in hints:
        return
    kinds = [KINDS[one] for one in hints if one in KINDS]
    is_switch = isinstance(value, bool)  # which Python takes for a number, too
    if not isinstance(value, tuple(kind for kind, _ in kinds)) or (is_switch and bool not in hints):
        must = " or ".join(words for _, words in kinds)
        raise AbNetError(f"{called} must be {must}, but is {value!r} instead.")
