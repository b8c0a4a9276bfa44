"""What the fields of a config mean, for the help of the options of the same names."""

from __future__ import annotations

import ast
import inspect

from abnet.config import AbNetConfig


def field_help() -> dict[str, str]:
    """The text below each field of `AbNetConfig`, by field name, for command-line help."""
    body = ast.parse(inspect.getsource(AbNetConfig)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError("AbNetConfig must be a class")
    texts = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            texts[statement.target.id] = str(following.value.value)
    return texts
