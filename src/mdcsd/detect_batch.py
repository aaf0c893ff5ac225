"""Many files: which they are, what is done already, what is written of each.

Results are written as they come, so an interrupted batch goes on where it stopped: a file
whose line for the same path, content, weights and settings is in the JSON file already, and
whose page of that verdict is there if pages are wanted, is not judged again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from mdcsd import storage
from mdcsd.detect_file import Job, Judged, Line, judge_file
from mdcsd.detect_pool import judge_at_once
from mdcsd.detect_tables import COLUMNS, is_table, read_lines, read_rows, row_of, write_row
from mdcsd.detector import Detector
from mdcsd.errors import InputError
from mdcsd.inference import count_gpus
from mdcsd.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mdcsd.judging_config import DetectConfig
from mdcsd.judging_nouns import VERDICT_SCHEMA, readable, short_name, to_line
from mdcsd.report_index import IndexRow, index_row, other_rows, render_index

_PAGE_SUFFIXES = frozenset({".html", ".htm"})
_NOT_WRITTEN = frozenset(
    {".pdf", ".doc", ".docx", ".odt", ".xlsx", ".xls", ".ods", ".parquet", ".zip"}
)
_TABLES = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl"})

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outputs:
    """What to write: JSON lines, a CSV table, and a page (.html) or a folder of pages."""

    json: Path | None = None
    csv: Path | None = None
    report: Path | None = None

    @property
    def is_one_page(self) -> bool:
        """Whether `report` is a page and not a folder."""
        report = self.report
        return report is not None and (
            report.suffix.lower() in _PAGE_SUFFIXES and not report.is_dir()
        )


class Batch:
    """One run over many files, with what an earlier run left."""

    def __init__(
        self, inputs: Sequence[Path], detector: Detector, config: DetectConfig, outputs: Outputs
    ) -> None:
        """Check the outputs and read what is done already.

        Args:
            detector: of the weights that `config` names; other processes load them again.

        Raises: InputError if an output would overwrite an input or another output, or the
            JSON file holds something else.
        """
        self.inputs = inputs
        self._detector = detector
        self._config = config
        self._outputs = outputs
        self.pages = _name_pages(inputs, outputs)
        _check_outputs([*inputs, Path(config.weights or "")], outputs, self.pages)
        with ExitStack() as held:
            for table in (outputs.json, outputs.csv):
                if table and (table.is_file() or not table.exists()):  # no /dev/stdout
                    held.enter_context(storage.held(table))
            self._read_earlier()
            self._held = held.pop_all()

    def _read_earlier(self) -> None:
        """Read what an earlier run wrote, and what of it needs no judging."""
        inputs, outputs = self.inputs, self._outputs
        earlier = read_lines(outputs.json) if outputs.json else {}
        here = {str(path): path for path in inputs}
        self._others = [text for path, text in earlier.items() if path not in here]
        self._done = {
            path: earlier[str(path)]
            for path in inputs
            if str(path) in earlier and self._is_done(path, json.loads(earlier[str(path)]))
        }
        self._again = [
            text for path, text in earlier.items() if path in here and here[path] not in self._done
        ]

    @property
    def n_done(self) -> int:
        """How many inputs need no judging."""
        return len(self._done)

    @property
    def n_again(self) -> int:
        """How many inputs are judged although there is a verdict, of other settings or content."""
        return sum("error" not in json.loads(text) for text in self._again)

    def run(self, progress: Progress | None = None) -> Iterator[Judged]:
        """Judge what is not done; yield every input, in order, once all is written of it.

        It is written as soon as it is done, by several processes not in order. What an earlier run
        wrote of a file stays until there is something to put in its place.

        Args:
            progress: called with (frames done, frames in all) of the file that is judged.
        """
        rows: list[IndexRow] = []
        with self._held, ExitStack() as stack:
            stack.callback(self._write_index, rows)
            stack.callback(self._drop_replaced)
            kept = [*self._others, *self._again, *self._done.values()]
            lines = _enter(stack, self._outputs.json, kept)
            table = _enter(stack, self._outputs.csv, read_rows(self._outputs.csv))
            if table and not table.tell():
                write_row(table, COLUMNS)

            def write(judged: Judged) -> None:
                if lines:
                    lines.write(to_line(judged.line) + "\n")
                    lines.flush()
                write_row(table, row_of(judged.line))

            anew = stack.enter_context(closing(self._judge_all(write, progress)))
            for path in self.inputs:
                known = self._done.get(path)
                judged = Judged(path, json.loads(known), None, True) if known else next(anew)
                if judged.was_done:
                    write_row(table, row_of(judged.line))
                page = self.pages.get(path) if "error" not in judged.line else None
                rows.append(index_row(judged.line, page.name if page else None))
                yield judged

    def _judge_all(
        self, on_done: Callable[[Judged], None], progress: Progress | None
    ) -> Generator[Judged, None, None]:
        """Judge what is not done, in order: here, or in as many processes as are wanted."""
        todo = [Job(path, self.pages.get(path)) for path in self.inputs if path not in self._done]
        n_workers = min(self._config.workers, len(todo))
        if n_workers > 1 or (todo and self._config.time_limit_s):
            n_gpus = count_gpus(self._config.device)
            yield from judge_at_once(todo, self._config, n_workers, n_gpus, on_done)
            return
        for job in todo:
            judged = judge_file(job, self._detector, self._config, progress)
            on_done(judged)
            yield judged

    def _is_done(self, path: Path, line: Line) -> bool:
        calibration = self._detector.checkpoint.calibration
        same = {
            "schema": VERDICT_SCHEMA,
            "mdcsd": version("mdcsd"),
            "checkpoint_id": self._detector.checkpoint_id,
            "thresholds": {
                "uncertain_from": calibration.uncertain_from,
                "manipulated_from": calibration.manipulated_from,
            },
            "settings": {
                "frames": self._config.frames,
                "pool": self._config.pool,
                "cropped": self._config.cropped,
            },
        }
        if any(line.get(name) != value for name, value in same.items()) or not path.is_file():
            return False
        if line.get("sha256") != storage.sha256_of(path):
            return False
        return not self.pages or _is_page_of(self.pages[path], line)

    def _drop_replaced(self) -> None:
        """Leave one line and one row of each file, the last."""
        table, lines = self._outputs.csv, self._outputs.json
        if table and table.is_file():
            storage.write_text(table, "".join(f"{row}\n" for row in read_rows(table)))
        if lines and lines.is_file() and self._again:
            kept = read_lines(lines).values()
            storage.write_text(lines, "".join(f"{line}\n" for line in kept))

    def _write_index(self, rows: list[IndexRow]) -> None:
        """Tell all pages of the folder, this run's first: earlier ones stay where they are."""
        if self._outputs.report and not self._outputs.is_one_page:
            rows += other_rows(self._outputs.report, {row.link for row in rows})
            storage.write_text(self._outputs.report / "index.html", render_index(rows))


def _is_page_of(page: Path, line: Line) -> bool:
    """Whether a page is there and of this very verdict: another run may have used its name."""
    if not page.is_file():
        return False
    shown = page.read_text(encoding="utf-8", errors="replace")
    return all(str(line.get(name)) in shown for name in ("sha256", "judged_at", "checkpoint_id"))


def _enter(stack: ExitStack, path: Path | None, kept: Sequence[str] = ()) -> IO[str] | None:
    return stack.enter_context(storage.line_file(path, kept)) if path else None


def _name_pages(inputs: Sequence[Path], outputs: Outputs) -> dict[Path, Path]:
    """Choose a page for each input; of inputs with one name each gets its path's hash, too."""
    if outputs.report is None:
        return {}
    if outputs.is_one_page:
        if len(inputs) != 1:
            raise InputError(
                f"--report {outputs.report}: a page holds one file, and there are {len(inputs)}. "
                "Give a folder: a page a file, and an index, are written there."
            )
        return {inputs[0]: outputs.report}
    names = {path: short_name(path) for path in inputs}
    often = Counter(name.casefold() for name in names.values())
    pages = {}
    for path, name in names.items():
        is_unique = often[name.casefold()] == 1 and name == readable(path.name) and name != "index"
        digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
        plain = outputs.report / f"{name}.html"
        is_free = is_unique and not _is_page_of_another(plain, path)
        pages[path] = plain if is_free else outputs.report / f"{name}.{digest}.html"
    return pages


def _is_page_of_another(page: Path, path: Path) -> bool:
    """Whether an earlier run left a page of this name of a file of other content."""
    if not page.is_file() or not path.is_file():
        return False
    return storage.sha256_of(path) not in page.read_text(encoding="utf-8", errors="replace")


def _check_outputs(inputs: Sequence[Path], outputs: Outputs, pages: dict[Path, Path]) -> None:
    """Refuse outputs that are inputs, each other, somebody's picture, or of another format."""
    written = [path for path in (outputs.json, outputs.csv, *pages.values()) if path]
    if outputs.report and not outputs.is_one_page:
        written.append(outputs.report / "index.html")
    real = [path.resolve() for path in written]
    taken = {path.resolve() for path in inputs if path.is_file()}
    for path, target in zip(written, real, strict=True):
        if target in taken:
            raise InputError(f"{path}: is an input, and would be overwritten. Choose another name.")
        if real.count(target) > 1:
            raise InputError(f"{path}: two outputs of one name. Choose another for one of them.")
    for flag, form, given, others in (
        ("--report", "a page, .html, or a folder of pages", outputs.report, _TABLES),
        ("--csv", "a table, .csv", outputs.csv, frozenset()),
        ("--json", "lines of JSON, .jsonl", outputs.json, frozenset()),
    ):
        if given and given.suffix.lower() in _NOT_WRITTEN | others and not given.is_dir():
            raise InputError(f"{flag} {given}: {flag} writes {form}. Choose another name.")
    media = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    for table in (outputs.json, outputs.csv):
        if table and table.suffix.lower() in media:
            raise InputError(
                f"{table}: the name of a picture or video. Choose another for a table."
            )
    if outputs.csv and outputs.csv.is_file() and not is_table(outputs.csv):
        raise InputError(
            f"{outputs.csv}: is there already, and holds no verdicts. Choose another name, or "
            "delete it."
        )
    if outputs.report and outputs.report.is_file() and not outputs.is_one_page:
        raise InputError(
            f"--report {outputs.report}: a file. Expected a name that ends in .html, or a folder."
        )
