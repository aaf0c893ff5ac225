"""Recipes, `--set` and flags -> settings.

Precedence: the defaults of the dataclasses < recipe < `--set section.key=value` < a flag that
was given. An unknown section or key is an error that names the nearest known one.
"""

from __future__ import annotations

import re
import tomllib
import types
import typing
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from mdcsd.config import parse_image_size
from mdcsd.errors import SettingError, nearest
from mdcsd.settings import Settings

Changes = dict[str, dict[str, Any]]
_Section = TypeVar("_Section")


def load_settings(
    recipe: Path | None, assignments: list[str], given: Changes, base: Settings | None = None
) -> Settings:
    """Lay recipe, `--set` assignments and given flags over the defaults, in that order.

    Args:
        recipe: TOML file, or None.
        assignments: "section.key=value" each; the value is TOML, or else taken as text.
        given: flags that the user gave, by section and key.
        base: what to lay them over instead of the defaults, a resumed run's settings.

    Raises: SettingError if a section, key or value is not one of ours.
    """
    layers = [_read_recipe(recipe)] if recipe else []
    layers += [_read_assignment(text) for text in assignments]
    return _lay_over(base or Settings(), _merged([*layers, given]))


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise SettingError(message)


def find_recipe(recipe: Path) -> Path:
    """Find a recipe: a TOML file, or the name of one that comes with the package.

    Raises: SettingError naming those that there are.
    """
    if recipe.is_file():
        return recipe
    package = Path(__file__).resolve().parent
    shelves = (package / "recipes", package.parents[1] / "recipes")  # installed, or a checkout
    ours = {path.stem: path for shelf in shelves for path in shelf.glob("*.toml")}
    if str(recipe) not in ours:
        raise SettingError(f"{recipe}: no such recipe file.{nearest(str(recipe), ours)}")
    return ours[str(recipe)]


def _read_recipe(recipe: Path) -> Changes:
    recipe = find_recipe(recipe)
    try:
        return tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(
            f"{recipe}: not a TOML file ({error}). See recipes/ for examples."
        ) from None


def _read_assignment(text: str) -> Changes:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    _check(bool(equals and dot), f"--set {text}: expected section.key=value, e.g. train.epochs=2.")
    try:
        return {section: {key: tomllib.loads(f"value = {value}")["value"]}}
    except tomllib.TOMLDecodeError:
        short = re.fullmatch(r"[+-]?(\.\d+|\d+\.)", value.strip())  # .5 and 5., as people type
        return {section: {key: float(value) if short else value.strip()}}


def _merged(layers: list[Changes]) -> Changes:
    """Put layers together, the last one's values over the others'.

    They are checked together: of two settings that bound each other either may come first.
    """
    merged: Changes = {}
    for layer in layers:
        for name, values in layer.items():
            there = merged.get(name)
            both = isinstance(there, dict) and isinstance(values, dict)
            merged[name] = {**there, **values} if both else values  # type: ignore[dict-item]
    return merged


def _lay_over(settings: Settings, changes: Changes) -> Settings:
    known = {section.name for section in fields(Settings)} - {"given"}
    for name, values in changes.items():
        _check(name in known, f"unknown section [{name}].{nearest(name, known)}")
        _check(isinstance(values, dict), f"{name}: expected a section [{name}] with keys.")
        section = _replace_fields(name, getattr(settings, name), values)
        given = settings.given | {f"{name}.{key}" for key in values}
        settings = replace(settings, given=given, **{name: section})
    return settings


def _replace_fields(name: str, section: _Section, values: dict[str, Any]) -> _Section:
    return replace(section, **_converted(name, type(section), values))  # type: ignore[type-var]


def _converted(name: str, kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Check the values of a section, or of a table in one, by the fields of its dataclass."""
    hints = typing.get_type_hints(kind)
    known = {each.name for each in fields(kind)}
    for key in values:
        _check(key in known, f"unknown setting {name}.{key}.{nearest(key, known)}")
    return {key: _convert(f"{name}.{key}", hints[key], value) for key, value in values.items()}


def _convert(name: str, hint: Any, value: Any) -> Any:
    """Check a value against a field's type; an int passes for a float, a list for a tuple."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(name, next(arg for arg in args if arg is not type(None)), value)
    if origin is Literal:
        _check(value in args, f"{name} = {value!r}: expected one of {', '.join(map(str, args))}.")
        return value
    if origin is tuple and is_dataclass(args[0]):
        kind: Any = args[0]
        rows = value if isinstance(value, (list, tuple)) else [value]
        _check(all(isinstance(row, dict) for row in rows), f"{name}: expected [[{name}]] tables.")
        return tuple(kind(**_converted(name, kind, row)) for row in rows)
    if origin is tuple and args[0] is str:
        parts = value.split(",") if isinstance(value, str) else value
        _check(
            isinstance(parts, (list, tuple)) and all(type(part) is str for part in parts),
            f"{name} = {value!r}: expected a list of names.",
        )
        return tuple(part.strip() for part in parts if part.strip())
    if origin is tuple:
        if isinstance(value, str):
            return parse_image_size(value)
        parts = value if isinstance(value, (list, tuple)) else [value]
        _check(
            all(type(part) is int for part in parts), f"{name} = {value!r}: expected whole numbers."
        )
        return tuple(parts)
    if hint is float and type(value) is int:
        return float(value)
    _check(type(value) is hint, f"{name} = {value!r}: expected {hint.__name__}.")
    return value
