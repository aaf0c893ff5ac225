"""The tables of a batch: lines of JSON and rows of CSV, written, and read again by a later run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from mdcsd.detect_file import Line
from mdcsd.errors import InputError
from mdcsd.judging_nouns import readable

COLUMNS = (
    "path", "sha256", "verdict", "score", "uncertain_from", "manipulated_from", "reason",
    "persons", "frames_sampled", "width_px", "height_px", "duration_s", "container", "codec",
    "warnings", "checkpoint_id", "judged_at", "error",
)  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file is empty, or a table of an earlier run."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return file.readline().rstrip("\n").split(",")[:3] in ([""], list(COLUMNS[:3]))


def read_rows(path: Path | None) -> list[str]:
    """Read a table's head and the last row of each file, as lines; none of what is no table."""
    if path is None or not path.is_file():
        return []
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS)]
    if rows[:1] != [list(COLUMNS)]:
        return []
    last = {row[0]: number for number, row in enumerate(rows)}
    return [_csv_line(row) for number, row in enumerate(rows) if last[row[0]] == number]


def read_lines(path: Path) -> dict[str, str]:
    """Read the last line of each file, as text, by path; one that was cut off does not count.

    Raises: InputError if the file holds something else, before its end at least.
    """
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, start=1):
            if text.startswith("{") and not text.endswith("\n"):
                break
            try:
                path_of_line = json.loads(text)["path"]
                found.pop(path_of_line, None)
                found[path_of_line] = text.rstrip("\n")
            except (ValueError, TypeError, KeyError):
                if found and not text.strip("\0\n"):  # what a lost power supply leaves
                    break
                if found:
                    raise InputError(
                        f"{path}, line {number}: no verdict, where those before it are. Take the "
                        "line out, or choose another name."
                    ) from None
                raise InputError(
                    f"{path}: is there already, and holds no verdicts. Choose another name, or "
                    "delete it."
                ) from None
    return found


def row_of(line: Line) -> list[str]:
    """Make the row of a line of JSON, as texts."""
    media, thresholds = line.get("media") or {}, line.get("thresholds") or {}
    values = {
        **line,
        "path": _spell(line["path"]),
        **thresholds,
        **{name: media.get(name) for name in ("width_px", "height_px", "duration_s", "container",
                                              "codec")},
        "persons": len(line["tracks"]) if "tracks" in line else None,
        "frames_sampled": line.get("n_frames_sampled"),
        "warnings": "; ".join(line.get("warnings", ())),
    }  # fmt: skip
    return [_cell(values.get(name)) for name in COLUMNS]


def _spell(path: str) -> str:
    """A path with what cannot be shown as Python writes it: each stays another than all others."""
    return "".join(each if each == readable(each) else ascii(each)[1:-1] for each in path)


def _cell(value: Any) -> str:
    """Write a value; a text that a spreadsheet would run as a formula gets a quote before it."""
    text = "" if value is None else str(value)
    is_formula = isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r"))
    return readable(f"'{text}" if is_formula else text)


def write_row(table: IO[str] | None, row: Sequence[str]) -> None:
    """Write a row, if there is a table."""
    if table:
        table.write(_csv_line(row) + "\n")
        table.flush()


def _csv_line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()
