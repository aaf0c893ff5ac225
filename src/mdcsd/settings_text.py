"""Settings -> text: every setting with its value and what it means, as a recipe to copy from."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
import typing
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, Literal

from mdcsd.errors import SettingError, nearest
from mdcsd.settings import Settings


def write_settings(settings: Settings, sections: list[str]) -> str:
    """Write sections of a recipe as TOML, each setting under its meaning.

    Read again it gives the same settings; one that stands at nothing is a comment.

    Args:
        sections: which ones; none means all.

    Raises: SettingError if there is no section of such a name.
    """
    known = [each.name for each in fields(Settings) if each.name != "given"]
    for name in sections:
        if name not in known:
            raise SettingError(f"no section [{name}].{nearest(name, known)}")
    wanted = dict.fromkeys(sections or known)
    return "\n".join(_table(f"[{name}]", getattr(settings, name)) for name in wanted)


def meanings(kind: Any) -> dict[str, str]:
    """What the fields of a settings class mean: the docstrings that follow them in its source."""
    (source,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(source, ast.ClassDef)
    return {
        node.target.id: inspect.cleandoc(str(text.value.value))
        for node, text in pairwise(source.body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _table(heading: str, section: Any) -> str:
    """A section, or one of the tables in it, which follow behind its settings."""
    lines, tables = [*_comment(inspect.cleandoc(section.__doc__)), heading], []
    meant = meanings(type(section))
    hints = typing.get_type_hints(type(section))
    for each in fields(section):
        value = getattr(section, each.name)
        lines += _comment(meant[each.name] + _choices(hints[each.name]))
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            name = f"{heading.strip('[]')}.{each.name}"
            lines.append(f"# {each.name}: the tables [[{name}]]")
            tables += [_table(f"[[{name}]]", row) for row in value]
        else:
            lines.append(f"# {each.name} =" if value is None else f"{each.name} = {_toml(value)}")
    return "\n".join([*lines, "", *tables])


def _choices(hint: Any) -> str:
    """What may stand there, of a setting with few words to choose from."""
    if typing.get_origin(hint) is not Literal:
        return ""
    return f" One of: {', '.join(map(str, typing.get_args(hint)))}."


def _comment(text: str) -> list[str]:
    return [f"# {line}".rstrip() for line in text.splitlines()]


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
