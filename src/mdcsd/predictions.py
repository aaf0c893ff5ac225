"""predictions.csv: scores of any detector as a table, one row a face in a frame.

A video without a face is one row with frame_index, track_id and score empty. A frame without a
face may be a row with its frame_index and no score: it counts as looked at.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from mdcsd.catalogue import check_manipulations
from mdcsd.errors import DataError, InputError
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import video_labels
from mdcsd.nouns import ORIGINAL, FrameKey, Origin, VideoKey

PREDICTION_COLUMNS = (
    "dataset", "manipulation", "video_id", "frame_index", "track_id", "label", "class_name",
    "score", "compression", "identity", "frames_sampled",
)  # fmt: skip
_REQUIRED = (*PREDICTION_COLUMNS[:6], "score")


def to_csv(predictions: Predictions) -> str:
    """Write predictions as CSV text; an unknown label is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(PREDICTION_COLUMNS)
    for origin, label, score in zip(
        predictions.origins, predictions.label.tolist(), predictions.score.tolist(), strict=True
    ):
        key = origin.key
        table.writerow(
            (*key.video, key.frame_index, key.track_id, _label_text(label), origin.class_name,
             repr(score), origin.compression, origin.identity, origin.frames_sampled or "")
        )  # fmt: skip
    for video in predictions.unjudged:
        table.writerow(
            (*video.key, "", "", _label_text(video.label), video.class_name, "",
             video.compression, video.identity, "")
        )  # fmt: skip
    return text.getvalue()


def read_csv(path: Path) -> Predictions:
    """Read a table of scores, ours or any detector's.

    Columns class_name, compression, identity and frames_sampled may be missing.

    Raises: InputError if the file is not there; DataError naming the line, if a column is
        missing, a row is told twice, or a score is no number in 0..1.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}. Expected a table of scores (predictions.csv).")
    origins: list[Origin] = []
    labels: list[int] = []
    scores: list[float] = []
    empty: dict[VideoKey, UnjudgedVideo] = {}
    looked_at: dict[VideoKey, set[int]] = defaultdict(set)
    first_line: dict[FrameKey, int] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        try:
            _check_columns(path, table.fieldnames or ())
            for row in table:
                origin, label, score = _read_row(row)
                video = origin.key.video
                if origin.key.frame_index >= 0:
                    looked_at[video].add(origin.key.frame_index)
                if score is None:
                    told = empty.setdefault(video, _unjudged(origin, label))
                    if told.label != label:
                        raise ValueError(f"another label than before: {'/'.join(video)}")
                    continue
                first = first_line.setdefault(origin.key, table.line_num)
                if first != table.line_num:
                    raise ValueError(f"the same face as line {first}: {'/'.join(origin.key.video)}")
                origins.append(origin)
                labels.append(label)
                scores.append(score)
        except UnicodeDecodeError:
            raise DataError(f"{path}: not text in UTF-8. Expected comma-separated rows.") from None
        except (ValueError, TypeError, csv.Error) as error:
            raise DataError(f"{path}: line {table.line_num}: {error}.") from None
    if not origins and not empty:
        raise DataError(f"{path}: no row. Expected one row a face in a frame.")
    known = tuple(
        each._replace(frames_sampled=max(each.frames_sampled, len(looked_at[each.key.video])))
        if each.key.video in empty
        else each
        for each in origins
    )
    found = Predictions(known, np.array(labels, np.int64), np.array(scores))
    label_of = video_labels(found)
    for key, unscored in empty.items():
        if label_of.get(key, unscored.label) != unscored.label:
            where = "/".join(key)
            raise DataError(f"{path}: {where}: rows with and without a score differ in label.")
    unjudged = tuple(unscored for key, unscored in empty.items() if key not in label_of)
    return replace(found, unjudged=unjudged)


def choose_manipulations(predictions: Predictions, wanted: tuple[str, ...]) -> Predictions:
    """The rows of some manipulations, and of real videos. None named: all.

    Raises: DataError if there is no such manipulation.
    """
    if not wanted:
        return predictions
    there = {key.manipulation for key in predictions.keys}
    there |= {video.key.manipulation for video in predictions.unjudged}
    check_manipulations("the table", wanted, there)
    # The real people of an unwanted fake make no real video: the whole video decides.
    label_of = video_labels(predictions)
    return _choose(
        predictions, lambda of: of.key.manipulation in wanted or label_of[_video(of)] == 0
    )


def choose_compression(predictions: Predictions, wanted: str | None) -> Predictions:
    """The rows of one compression, and those that state none; None: all."""
    if wanted is None:
        return predictions
    return _choose(predictions, lambda of: of.compression in ("", wanted))


def check_compression(there: Collection[str], wanted: str | None) -> None:
    """Refuse a compression that nothing states.

    Raises: DataError naming those that there are.
    """
    if wanted is not None and wanted not in there:
        known = ", ".join(sorted(name for name in there if name)) or "none stated"
        raise DataError(f"no row of compression {wanted}. There are: {known}.")


def _choose(
    predictions: Predictions, is_wanted: Callable[[Origin | UnjudgedVideo], bool]
) -> Predictions:
    kept = [i for i, origin in enumerate(predictions.origins) if is_wanted(origin)]
    unjudged = tuple(video for video in predictions.unjudged if is_wanted(video))
    return replace(predictions.rows(np.array(kept, np.int64)), unjudged=unjudged)


def _video(of: Origin | UnjudgedVideo) -> VideoKey:
    return of.key.video if isinstance(of, Origin) else of.key


def join_predictions(parts: list[Predictions]) -> Predictions:
    """Lay tables of several data sets one after the other.

    Raises: DataError if two hold the same face.
    """
    origins = tuple(origin for part in parts for origin in part.origins)
    if len({origin.key for origin in origins}) < len(origins):
        raise DataError("two --data hold the same videos under one name. Name each once.")
    return Predictions(
        origins,
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.score for part in parts]),
        tuple(video for part in parts for video in part.unjudged),
    )


def _check_columns(path: Path, found: object) -> None:
    columns = tuple(found) if isinstance(found, (list, tuple)) else ()
    missing = [name for name in _REQUIRED if name not in columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}: column(s) {', '.join(twice)} twice. Remove one of each.")
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise DataError(f"{path}: its columns are not separated by commas. Save it with commas.")
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing. Expected {', '.join(_REQUIRED)}; "
            "class_name, compression, identity and frames_sampled are optional."
        )


def _read_row(row: dict[str, str]) -> tuple[Origin, int, float | None]:
    """One row; ValueError in words if a field cannot be."""
    if None in row.values() or None in row:
        raise ValueError("not as many fields as there are columns")
    label = _read_label(row["label"])
    manipulation = row["manipulation"] or ("" if label else ORIGINAL)
    score = _read_score(row["score"])
    key = FrameKey(
        row["dataset"],
        manipulation,
        row["video_id"],
        _whole(row, "track_id") if score is not None else -1,
        _whole(row, "frame_index") if score is not None or row["frame_index"] else -1,
    )
    class_name = row.get("class_name") or manipulation
    sampled = _whole(row, "frames_sampled") if row.get("frames_sampled") else 0
    compression, identity = row.get("compression", ""), row.get("identity", "")
    return Origin(key, class_name, compression, identity, sampled), label, score


def _read_label(text: str) -> int:
    if text not in ("", "0", "1"):
        raise ValueError(f"label {text!r}: expected 0 (real), 1 (manipulated) or nothing")
    return int(text) if text else -1


def _read_score(text: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0.0 <= score <= 1.0:
        raise ValueError(
            f"score {text!r}: expected a number from 0 to 1, higher is more fake (put logits "
            "through a sigmoid), or nothing where no face was found"
        )
    return score


def _whole(row: dict[str, str], name: str) -> int:
    try:
        return int(row[name])
    except ValueError:
        raise ValueError(f"{name} {row[name]!r}: expected a whole number") from None


def _unjudged(origin: Origin, label: int) -> UnjudgedVideo:
    return UnjudgedVideo(
        origin.key.video, label, origin.class_name, origin.compression, origin.identity
    )


def _label_text(label: int) -> str:
    return str(label) if label >= 0 else ""
