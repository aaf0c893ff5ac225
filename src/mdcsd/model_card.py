"""A checkpoint and reports of `mdcsd evaluate` -> its card in Markdown: a pure function.

Every figure of the card comes out of the checkpoint or a report; what neither says is said to be
unknown. The sentences on limits are about the method, and hold for every checkpoint of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mdcsd.checkpoint import Checkpoint
from mdcsd.embedding import without_folders
from mdcsd.errors import DataError

Report = Mapping[str, Any]

_UNKNOWN = "not stated"
_FIGURES = {
    "auc": "AUC",
    "eer": "EER",
    "balanced_accuracy": "balanced accuracy",
    "tpr_at_fpr_5": "TPR at 5 % FPR",
    "ece": "ECE",
    "brier": "Brier",
}
_WORDS = ("likely_real", "uncertain", "likely_manipulated", "cannot_judge")
_LIMITS = """\
## Where it fails, and what it must not be used for

- It knows the manipulations it was taught. Another kind of fake, above all wholly generated faces
  or a generator newer than its data, may score as real.
- Strong compression, screen recordings, filters, retouching and make-up change the traces it
  reads, in both directions. Thresholds fitted on one kind of video do not carry over to another:
  the table of verdicts above shows on which kinds they were tried.
- It looks at faces alone: no sound, no body, no scene, no cut. A real face in a false context is
  real to it.
- Whether it errs more often for some groups of people than for others was not measured.
- Nothing is judged where no face is found, or every face is too small, too dark or too blurred;
  that answer, "cannot judge", is a sign of neither.

It must not decide about a person: no accusation, sanction, arrest, refusal or removal may rest on
a score. It must not be used to clear a file either: "likely real" proves nothing. A score is
evidence of one detector, to be weighed with others by somebody who knows the case.
"""


def write_card(checkpoint: Checkpoint, reports: Mapping[str, Report]) -> str:
    """Write the card.

    Args:
        checkpoint: what the card is about.
        reports: name -> report.json of `mdcsd evaluate` with this checkpoint.

    Returns: Markdown.

    Raises: DataError if a report is of another checkpoint, or of none, or was made with other
        thresholds than the checkpoint has now.
    """
    calibration = asdict(checkpoint.calibration)
    for name, report in reports.items():
        if report.get("calibration") not in (None, calibration):
            raise DataError(
                f"report {name}: made with another temperature or thresholds than the checkpoint "
                "has now. Evaluate again."
            )
        if report.get("checkpoint_id") != checkpoint.checkpoint_id:
            raise DataError(
                f"report {name}: of checkpoint {report.get('checkpoint_id')}, the card is of "
                f"{checkpoint.checkpoint_id}. Evaluate this one."
            )
    parts = [
        f"# Model card: {checkpoint.checkpoint_id}\n",
        _what(checkpoint),
        _training(checkpoint),
        _thresholds(checkpoint),
        "\n".join(["## What was measured\n", *_measured(reports)]),
        _LIMITS,
    ]
    return "\n".join(parts)


def _what(checkpoint: Checkpoint) -> str:
    network, spec = checkpoint.network, checkpoint.preprocess
    n_numbers = sum(p.numel() for p in checkpoint.build().parameters())
    shape = f"{network.name}"
    if network.name == "mdcsd":
        shape = (
            f"mdcsd (MD-CSDNetwork), backbone {network.backbone}, branches {network.branches}, "
            f"frequency {network.frequency}, stitch {network.stitch}"
        )
    licence = checkpoint.provenance.get("licence") or _UNKNOWN
    return _table(
        ["what", ""],
        [
            ["network", shape],
            ["parameters", f"{n_numbers:,}"],
            ["input", f"{spec.image_size_px} px, {spec.channels} channels, a face crop of "
                      f"{spec.crop_scale} times the detector's box"],
            ["a score is of", "a face and its mirror image, the mean of both answers"
                              if network.mirror else "a face"],
            ["classes", ", ".join(checkpoint.class_names)],
            ["terms of the weights", str(licence)],
        ],
    )  # fmt: skip


def _training(checkpoint: Checkpoint) -> str:
    known = checkpoint.provenance
    epoch, counts = known.get("epoch") or {}, known.get("train_counts") or {}
    faces = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    stages, painter = known.get("stages", ()), known.get("autoencoder")
    rows: list[tuple[str, Any]] = [
        ("training data", known.get("train_dataset")),
        ("what these are, and their terms", known.get("data")),
        ("faces", faces),
        ("validation data", known.get("val_dataset")),
        ("command", _command(known)),
        ("settings", _settings(known)),
        ("commit", known.get("git_commit")),
        ("seed", known.get("seed")),
        ("epoch kept", epoch.get("epoch")),
        ("hours up to the epoch kept", known.get("hours")),
        ("hardware", _hardware(known)),
        ("software", ", ".join(f"{k} {v}" for k, v in (known.get("packages") or {}).items())),
        ("date", known.get("date")),
        ("started from checkpoint", known.get("started_from")),
        *([("taught by checkpoint", known["teacher"])] if known.get("teacher") else []),
        *([("autoencoder of blends", _facts(painter))] if painter else []),
        *(
            (f"earlier training {i} of {len(stages)}" + ", the oldest" * (i == 1), _stage(each))
            for i, each in enumerate(stages, 1)
        ),
        *([("mean of the weights of", _averaged(known))] if "averaged_from" in known else []),
        *(
            []
            if known.get("started_from")
            else [("ImageNet weights, SHA-256", known.get("pretrained_sha256"))]
        ),
        ("rounded to 16 bits from", known.get("compacted_from")),
    ]
    told = [[name, _UNKNOWN if value in (None, "") else str(value)] for name, value in rows]
    return "## How it was made\n\n" + _table(["what", ""], told)


def _command(known: Mapping[str, Any]) -> str | None:
    """A command as one types it, without folders that are of one machine."""
    return f"`{without_folders(str(known['command']))}`" if known.get("command") else None


def _averaged(known: Mapping[str, Any]) -> str:
    start, end = known["averaged_from"]
    return f"{start} and {end}, {known['averaged_share']:.0%} of the second's, which is told here"


def _stage(known: Mapping[str, Any]) -> str:
    painter = known.get("autoencoder")
    told = {
        "command": _command(known),
        "autoencoder": f"({_facts(painter)})" if painter else None,
        "averaged_from": None,
        "averaged_share": None,
        "mean of the weights of": f"({_averaged(known)})" if "averaged_from" in known else None,
    }
    return _facts({**known, **told})


def _facts(known: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in known.items() if value is not None
    )


def _settings(known: Mapping[str, Any]) -> str:
    """Settings of the training as one would give them to --set, without folders."""
    return ", ".join(
        f"{section}.{name}={without_folders(str(value))}"
        for section, values in (known.get("settings") or {}).items()
        for name, value in values.items()
        if value is not None
    )


def _hardware(known: Mapping[str, Any]) -> str | None:
    processes = known.get("processes", 1)
    times = f"{processes} x " if processes > 1 else ""
    if known.get("device", "cuda") == "cuda" and known.get("cuda"):
        return f"{times}{known['cuda']}"
    threads = known.get("cpu_threads")
    return None if threads is None else f"{times}CPU, {threads} threads"


def _thresholds(checkpoint: Checkpoint) -> str:
    fitted = checkpoint.calibration
    rows = [
        ["likely real", f"below {fitted.uncertain_from:.4f}"],
        ["uncertain", f"{fitted.uncertain_from:.4f} to {fitted.manipulated_from:.4f}"],
        ["likely manipulated", f"from {fitted.manipulated_from:.4f}"],
        ["cannot judge", "no score: no face, or none good enough, in enough frames"],
    ]
    return (
        "## What the verdicts mean\n\n" + _table(["verdict", "score"], rows) + "\n"
        "A score is meant as the chance that a face is manipulated, if that was as likely as not "
        "before, on media like those it was fitted on. "
        f"Fitted on {fitted.fitted_on}: temperature {fitted.temperature:.4g}. "
        "\"Likely manipulated\" begins where at most 5 % of those real ones scored, "
        "\"uncertain\" where real and manipulated ones were mistaken equally often, and never "
        "above that. At most "
        f"1 % of those real ones scored from {fitted.false_alarm_1:.4f}. On files of another kind "
        "these shares are others.\n"
    )  # fmt: skip


def _measured(reports: Mapping[str, Report]) -> list[str]:
    if not reports:
        return ["Nothing: no report was given to this card.\n"]
    return [part for name, report in reports.items() for part in _one_report(name, report)]


def _one_report(name: str, report: Report) -> list[str]:
    drawn, made = report["resampling"], report.get("made") or {}
    parts = [
        f"### {name}\n",
        f"{report['n_videos']:,} videos, {report['n_frames']:,} faces; video score: "
        f"{report['pooling']}. Intervals: 95 %, {drawn['draws']} draws of {drawn['n_units']} "
        f"{drawn['unit']}. Made by {_command(made) or _UNKNOWN}.\n",
        _figures(report["overall"]),
        *_verdicts("Verdicts", report.get("verdicts")),
    ]
    if report.get("groups"):
        parts += ["By group, against the real ones of the same data set:\n", _groups(report)]
    if report.get("uncalibrated"):
        parts.append(_calibration(report))
    if report.get("recoded"):
        recoded = report["recoded"]
        parts += [f"All encoded anew as {recoded['name']}:\n", _figures(recoded["overall"])]
        parts += _verdicts(f"Verdicts, encoded anew as {recoded['name']}", recoded["verdicts"])
    if report.get("robustness"):
        parts += ["Under distortion:\n", _robustness(report["robustness"])]
    return parts


def _figures(overall: Mapping[str, Any]) -> str:
    rows = [
        [title, *(_told(overall[f"{level}_{name}"]) for level in ("frame", "video"))]
        for name, title in _FIGURES.items()
    ]
    return _table(["figure", "by frame", "by video"], rows)


def _groups(report: Report) -> str:
    rows = []
    for group in report["groups"]:
        parts = (group["dataset"], group["compression"], group["manipulation"])
        auc = group["metrics"]["video_auc"]
        rows.append(
            [" ".join(p for p in parts if p), str(auc["n_real"]), str(auc["n_fake"]), _told(auc)]
        )
    return _table(["group", "real", "fake", "video AUC"], rows)


def _verdicts(title: str, rows: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Counts, and shares of all; of real ones "likely manipulated" is a false alarm."""
    if not rows:
        return []
    told = [
        [
            " ".join(filter(None, (row["dataset"], row["compression"], row["manipulation"]))),
            str(row["n"]),
            *(f"{row[word]} ({row[word] / row['n']:.1%})" for word in _WORDS),
            _told(row["share_manipulated"], percent=True),
        ]
        for row in rows
    ]
    titles = [word.replace("_", " ") for word in _WORDS]
    heading = f"{title}; of real ones (original) the last column is the rate of false alarms:\n"
    return [heading, _table(["group", "videos", *titles, "share likely manipulated"], told)]


def _calibration(report: Report) -> str:
    before = report["uncalibrated"]
    rows = [
        [title, _told(before[name]), _told(report["overall"][name])]
        for name, title in (
            ("frame_ece", "ECE"), ("frame_brier", "Brier"), ("frame_log_loss", "log loss"),
        )
    ]  # fmt: skip
    even = before.get("frame_ece_at_even_odds")  # not in reports of earlier versions
    if even and even["with"] is not None:
        values = [f"{even[when]:.3f}" for when in ("without", "with")]
        rows.append(["ECE, real and manipulated weighing alike", *values])
    head = f"Calibration by frame, temperature {before['temperature']:.4g}:\n\n"
    return head + _table(["figure", "without the temperature", "with it"], rows)


def _robustness(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [
        [row["distortion"], str(row["level"]), f"{row['parameter']:g}",
         _told(row["metrics"]["frame_auc"]), _told(row["metrics"]["video_auc"])]
        for row in rows
    ]  # fmt: skip
    return _table(["distortion", "level", "parameter", "frame AUC", "video AUC"], told)


def _told(entry: Mapping[str, Any], percent: bool = False) -> str:
    """A figure with its interval; what is undefined says why."""
    if entry["value"] is None:
        return str(entry.get("reason") or "undefined")
    values = [entry["value"], entry["low"], entry["high"]]
    text = [None if v is None else f"{v:.1%}" if percent else f"{v:.3f}" for v in values]
    return str(text[0]) if text[1] is None else f"{text[0]} [{text[1]}, {text[2]}]"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )
