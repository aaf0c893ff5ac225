"""A batch as one web page: a table that links each file's page, and sorts where scripts run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mdcsd.judging_nouns import VERDICT_WORDS, readable
from mdcsd.report import read_asset, template

_RANKS = {"likely_manipulated": 0, "uncertain": 1, "likely_real": 2, "cannot_judge": 3}
_UNREAD = "could not be read"


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


def index_row(line: dict[str, Any], page_name: str | None) -> IndexRow:
    """Take what the table shows from a line of JSON, as docs/schema.json has it."""
    is_unread = "error" in line
    return IndexRow(
        path=readable(line["path"]),
        link=quote(page_name) if page_name else None,
        verdict=line["verdict"],
        word=_UNREAD if is_unread else VERDICT_WORDS[line["verdict"]],
        rank=_RANKS[line["verdict"]] + is_unread,
        score=line["score"],
        n_persons=len(line.get("tracks", ())),
        n_warnings=len(line.get("warnings", ())),
        reason=readable(line["error"] if is_unread else line["reason"]),
    )


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
