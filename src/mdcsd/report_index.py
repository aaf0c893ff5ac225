"""A folder of pages as one page: a table that links them, and sorts where scripts run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mdcsd.judging_nouns import VERDICT_WORDS, readable
from mdcsd.report import read_asset, template

_RANKS = {"likely_manipulated": 0, "uncertain": 1, "likely_real": 2, "cannot_judge": 3}
_UNREAD = "could not be read"
_HEAD_CHARACTERS = 50_000  # of a page: its summary stands at its beginning


@dataclass(frozen=True)
class IndexRow:
    """One file of the table; `link` is relative to it, None without a page."""

    path: str
    link: str | None
    verdict: str
    word: str
    rank: int
    score: float | None
    n_persons: int
    n_warnings: int
    reason: str
    is_unread: bool


def index_row(line: dict[str, Any], page_name: str | None) -> IndexRow:
    """Take what the table shows from a line of JSON, as docs/schema.json has it."""
    counts = {
        "n_persons": len(line.get("tracks", ())),
        "n_warnings": len(line.get("warnings", ())),
    }
    return _row({**line, **counts}, page_name)


def _row(line: dict[str, Any], page_name: str | None) -> IndexRow:
    """Take it from a line with counts, or from what a page says of itself."""
    is_unread = "error" in line
    return IndexRow(
        path=readable(line["path"]),
        link=quote(page_name) if page_name else None,
        verdict=line["verdict"],
        word=_UNREAD if is_unread else VERDICT_WORDS[line["verdict"]],
        rank=_RANKS[line["verdict"]] + is_unread,
        score=None if line["score"] is None else float(line["score"]),
        n_persons=int(line["n_persons"]),
        n_warnings=int(line["n_warnings"]),
        reason=readable(line["error"] if is_unread else line["reason"]),
        is_unread=is_unread,
    )


def other_rows(folder: Path, known: Collection[str | None]) -> Iterator[IndexRow]:
    """Yield rows of the pages in a folder that earlier runs wrote, in the order of their names.

    Args:
        known: links of the rows that there are.
    """
    for page in sorted(folder.glob("*.html")):
        if quote(page.name) in known:
            continue
        try:
            with open(page, encoding="utf-8", errors="replace") as file:
                summary = json.loads(_Summary(file.read(_HEAD_CHARACTERS)).found)
            yield _row(summary, page.name)
        except (OSError, ValueError, TypeError, KeyError):
            continue  # no page of ours, or of a version that wrote no summary


class _Summary(HTMLParser):
    """Finds what a page says of itself for an index; an empty text if it says nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "meta" and named.get("name") == "mdcsd-verdict":
            self.found = named.get("content") or ""


def render_index(rows: Sequence[IndexRow]) -> str:
    """Write the table as one self-contained page, but for its links to the files' pages."""
    counted = Counter(row.word for row in rows)
    words = [*VERDICT_WORDS.values(), _UNREAD]
    return template("report_index.html.j2").render(
        rows=rows,
        counts=[(word, counted[word]) for word in words if counted[word]],
        style=read_asset("report.css"),
        script=read_asset("report_index.js"),
    )
