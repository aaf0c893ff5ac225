"""Options that commands share, and from flags to settings."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcsd.errors import SettingError
from mdcsd.recipe import load_settings
from mdcsd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_EACH_S = 60.0
"""How often a log is told how far a command is."""

Recipe = Annotated[
    Path | None,
    typer.Option(
        "--recipe", help="TOML file, or the name of one of ours: paper, default, ... (recipes/)."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set any setting; may be repeated."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu or cuda.", show_default="auto"),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Checkpoint: the path that train printed.",
        show_default="the embedded detector",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed.", show_default="0")]


def given_flags(ctx: typer.Context, names: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Collect the flags a user gave; a flag's default never counts as given.

    Args:
        ctx: the running command.
        names: parameter -> "section.key".
    """
    given: dict[str, dict[str, Any]] = {}
    for parameter, name in names.items():
        source = ctx.get_parameter_source(parameter)
        value = ctx.params[parameter]
        if source is not None and source.name == "COMMANDLINE" and value is not None:
            section, key = name.split(".")
            given.setdefault(section, {})[key] = value
    return given


def settings_of(
    ctx: typer.Context, recipe: Path | None, assignments: list[str] | None, names: dict[str, str]
) -> Settings:
    """Lay a command's flags over `--set`, recipe and defaults.

    Raises: SettingError, which names a flag in place of the setting that it gave.
    """
    with flags_named(ctx, names):
        return load_settings(recipe, assignments or [], given_flags(ctx, names))


@contextmanager
def flags_named(ctx: typer.Context, names: dict[str, str]) -> Iterator[None]:
    """Put a given flag's name where an error begins with that of its setting."""
    try:
        yield
    except SettingError as error:
        given, told = given_flags(ctx, names), str(error)
        for parameter in ctx.command.params:
            name = names.get(parameter.name or "", ".")
            section, key = name.split(".")
            flag = max(parameter.opts, key=len)
            is_given = key in given.get(section, {}) and flag.startswith("-")
            if is_given and told.startswith(f"{name} "):
                raise SettingError(flag + told.removeprefix(name)) from None
        raise


class _Pace:
    """Tells a log how far a stage is, a line a minute at most."""

    def __init__(self) -> None:
        """Begin the first stage."""
        self._told_s = monotonic()
        self.begin()

    def begin(self) -> None:
        """Begin a stage: the time left is its own."""
        self._first: tuple[float, int] | None = None

    def tell(self, done: int, total: int, text: str) -> None:
        """Say it, if it is time to and not all is done."""
        now_s = monotonic()
        self._first = began_s, n_before = self._first or (now_s, done)
        if now_s - self._told_s < _LINE_EACH_S or done >= total:
            return
        self._told_s, left = now_s, ""
        if done > n_before:
            left_s = (now_s - began_s) / (done - n_before) * (total - done)
            left = f", {left_s / 60:.0f} min left" if left_s >= 90 else f", {left_s:.0f} s left"
        print(f"{text}: {done} of {total}{left}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[..., None]]:
    """Draw a progress bar with the time left on standard error; a log gets a line a minute.

    Yields: a function of (done, total) and, if it changes, the description.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file must not turn to the bar
    ) as bar:
        task, pace = bar.add_task(description, total=None), _Pace()

        def update(done: int, total: int, text: str = description) -> None:
            if text != bar.tasks[0].description:
                bar.reset(task)  # the time left is of this stage, not of the one before
                pace.begin()
            bar.update(task, completed=done, total=total, description=text)
            if not console.is_terminal:
                pace.tell(done, total, text)

        yield update


def standard_input() -> Iterable[str]:
    """The lines of standard input; names of files that are no UTF-8 are taken as they are."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a plain table on standard output; names in it are not read as markup."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    terminal = Console(highlight=False)
    wide = terminal if terminal.is_terminal else Console(width=200, highlight=False)
    wide.print(table)


def number(value: float | None) -> str:
    """Write a figure; what is undefined is a dash."""
    return "-" if value is None else f"{value:.4f}"


def interval(entry: dict[str, Any]) -> str:
    """Write an entry's 95 % interval; a dash where there is none."""
    low, high = entry["low"], entry["high"]
    return "-" if low is None else f"{low:.3f} to {high:.3f}"
