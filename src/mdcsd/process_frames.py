"""The job: a folder or a catalogue of videos -> a folder of square face crops and faces.csv.

What it writes below the output folder:

    <relative folder>/<video>_<frame:04d>.png       crops; `_t<track>` after the frame for
                                                    every person but the first
    faces.csv                                       one row a crop
    catalogue.csv                                   what each video is, where a catalogue said
    .process_frames/settings.json                   what every crop here was cut with
    .process_frames/videos/<video path>.json        one video each, see cut_journal.py

A video counts as done when its file in `.process_frames` is there, which is written after
all its crops; faces.csv is made anew from all of these files. So a run that was interrupted
goes on where it stopped, a second folder of videos may go into the same output, and a video
that cannot be read leaves no crops behind, and is tried again.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mdcsd import storage
from mdcsd.catalogue import CATALOGUE_NAME, add_to_catalogue, read_catalogue, video_name
from mdcsd.config import ProcessFramesConfig
from mdcsd.cut_journal import (
    JOURNAL,
    VideoResult,
    journal_of,
    read_result,
    read_results,
    write_result,
)
from mdcsd.errors import InputError, MediaError
from mdcsd.face_crops import iter_crops
from mdcsd.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_media
from mdcsd.nouns import FaceCrop, Progress, VideoEntry
from mdcsd.pictures import encode_png

_ROW_COLUMNS = (
    "path", "video", "frame", "time_s", "x0", "y0", "x1", "y1", "confidence", "track", "crop_scale",
    "mask_share",
)  # fmt: skip
FACES_CSV_COLUMNS = (*_ROW_COLUMNS, "frames_sampled")


@dataclass(frozen=True)
class Summary:
    """What a run did: `failed` are videos that could not be read, with the reason."""

    n_videos: int
    n_resumed: int
    n_frames: int
    n_frames_without_face: int
    n_crops: int
    failed: tuple[VideoResult, ...]
    faces_csv: Path
    n_passed_over: int = 0
    """Pictures beside videos, which are not cut."""


@dataclass(frozen=True)
class _Job:
    video: str
    path: Path
    output: Path
    config: ProcessFramesConfig
    mask_path: Path | None = None

    def journal(self) -> Path:
        return journal_of(self.output, self.video)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this video, and its mask, from others of the same name."""
        return storage.fingerprint_of(self.path, self.mask_path)

    def old_crops(self) -> list[Path]:
        """Crops of this video on disk, whoever left them."""
        stem = self.output / Path(self.video).with_suffix("")
        name = re.compile(re.escape(stem.name) + r"_\d{4,}(_t\d+)?\.png")
        folder = stem.parent.iterdir() if stem.parent.is_dir() else ()
        return [path for path in folder if name.fullmatch(path.name)]


def process_frames(config: ProcessFramesConfig, progress: Progress = lambda *_: None) -> Summary:
    """Cut face crops out of a video, or of every video below a folder.

    Args:
        config: settings; `video_path` and `output_path` are needed.
        progress: called with (videos done, videos in all) as they finish.

    Raises: InputError if there is nothing to read, nothing can be written, or the output
        folder holds crops made with other settings. A video that cannot be decoded raises
        nothing: it is in the summary's `failed`.
    """
    jobs, n_passed_over = _plan(config)
    output = Path(config.output_path)
    storage.make_folder(output)
    _keep_to_one_setting(output, config)
    if _is_catalogue(config):
        add_to_catalogue(output / CATALOGUE_NAME, _videos_of(config))
    results = {job.video: done for job in jobs if (done := _finished(job)) is not None}
    n_resumed = len(results)
    progress(n_resumed, len(jobs))
    try:
        for result in _run([job for job in jobs if job.video not in results], config.workers):
            results[result.video] = result
            progress(len(results), len(jobs))
    finally:
        storage.write_text(output / "faces.csv", _to_csv(read_results(output)))
    ordered = [results[job.video] for job in jobs]
    return Summary(
        n_videos=len(jobs),
        n_resumed=n_resumed,
        n_frames=sum(result.n_frames for result in ordered),
        n_frames_without_face=sum(result.n_frames_without_face for result in ordered),
        n_crops=sum(len(result.rows) for result in ordered),
        failed=tuple(result for result in ordered if result.error),
        faces_csv=output / "faces.csv",
        n_passed_over=n_passed_over,
    )


def _plan(config: ProcessFramesConfig) -> tuple[list[_Job], int]:
    """List what to cut, and count the pictures that are passed over."""
    if not config.video_path:
        raise InputError("no video given. Pass --video_path with a video or a folder of videos.")
    root, output = Path(config.video_path), Path(config.output_path)
    base = root.parent if root.is_file() else root
    if _is_catalogue(config):
        return [
            _Job(video_name(entry), entry.path, output, config, entry.mask_path)
            for entry in _videos_of(config)
        ], 0
    paths, n_passed_over = _find_videos(root)
    jobs = [_Job(path.relative_to(base).as_posix(), path, output, config) for path in paths]
    stems = Counter(Path(job.video).with_suffix("") for job in jobs)
    for stem, count in stems.items():
        if count > 1:
            raise InputError(
                f"{base / stem}.*: {count} videos differ only in their ending and would write the "
                "same crop names. Rename all but one."
            )
    return jobs, n_passed_over


def _find_videos(root: Path) -> tuple[list[Path], int]:
    """The videos below a folder and how many pictures it holds, or these if there is no video.

    A folder in it that cannot be read counts as a video, which fails.
    """
    found = find_media(root, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
    videos = [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        return found, 0
    kept = [*videos, *(path for path in found if path.is_dir())]
    return kept, len(found) - len(kept)


def _is_catalogue(config: ProcessFramesConfig) -> bool:
    return Path(config.video_path).suffix.lower() == ".csv"


def _videos_of(config: ProcessFramesConfig) -> list[VideoEntry]:
    """The videos of a catalogue; what are crops already need no cutting."""
    path = Path(config.video_path)
    videos = [entry for entry in read_catalogue(path) if entry.crop_scale is None]
    if not videos:
        raise InputError(
            f"{path}: no video in it: its entries are face crops already. Pass it to "
            "prepare_dataset.py."
        )
    return videos


def _keep_to_one_setting(output: Path, config: ProcessFramesConfig) -> None:
    """Refuse to mix crops of unlike settings; note the settings before the first crop."""
    now = asdict(config)
    for name in ("video_path", "output_path", "workers"):
        del now[name]
    path = output / JOURNAL / "settings.json"
    if not path.exists():
        storage.write_json(path, now)
        return
    before = storage.read_json(path)
    changed = [f"{name} {before.get(name)}" for name in now if before.get(name) != now[name]]
    if changed:
        raise InputError(
            f"{output}: holds crops made with other settings ({', '.join(changed)}). Give the same "
            "settings to go on, or another --output_path."
        )


def _finished(job: _Job) -> VideoResult | None:
    """The result of an earlier run on the same video, if its crops are still there."""
    needed = (job.journal(), job.path, *([job.mask_path] if job.mask_path else []))
    if not all(path.exists() for path in needed):
        return None
    result = read_result(job.journal())
    if result.error:  # it may have been copied again since
        return None
    now, before = job.fingerprint(), result.fingerprint
    same_content = all(before.get(key) == now[key] for key in ("bytes", "mtime_ns", "mask"))
    if not same_content and before.get("source") != now["source"]:
        raise InputError(
            f"{job.path}: {job.output} holds crops of another video of this name "
            f"({before.get('source')}). Rename one, or give another --output_path."
        )
    whole = all(
        len(row) == len(_ROW_COLUMNS) and (job.output / row[0]).is_file() for row in result.rows
    )
    return result if same_content and whole else None


def _run(jobs: list[_Job], workers: int) -> Iterator[VideoResult]:
    n_workers = min(workers or os.cpu_count() or 1, len(jobs))
    if n_workers <= 1:
        yield from map(_process_video, jobs)
        return
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[VideoResult]] = [pool.submit(_process_video, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _process_video(job: _Job) -> VideoResult:
    """Cut one video's crops; on any failure remove those already written."""
    rows: list[tuple[Any, ...]] = []
    n_frames = n_empty = 0
    try:
        fingerprint = job.fingerprint()
    except OSError as error:  # what an earlier run cut of it stays
        return VideoResult(job.video, {}, 0, 0, (), _one_line(job.path, error))
    try:
        job.journal().unlink(missing_ok=True)  # before its crops: no row without a picture
        _remove_crops(job.output, job.old_crops())
        config = job.config
        for _, crops in iter_crops(
            job.path,
            job.video,
            config.selection(),
            config.faces,
            config.size,
            config.scale,
            job.mask_path,
        ):
            n_frames += 1
            n_empty += not crops
            rows += [_save_crop(job, crop) for crop in crops]
        if n_frames == 0:
            raise MediaError(f"{job.path}: ends before --start_frame {config.start_frame}.")
        result = VideoResult(job.video, fingerprint, n_frames, n_empty, tuple(rows))
        write_result(job.output, result)
    except MediaError as error:
        _remove_crops(job.output, job.old_crops())
        unreadable = VideoResult(job.video, fingerprint, 0, 0, (), str(error))
        write_result(job.output, unreadable)
        return unreadable
    except OSError as error:  # of the disk, and not of the video: nothing is noted of it
        _remove_crops(job.output, job.old_crops())
        return VideoResult(job.video, {}, 0, 0, (), _one_line(job.path, error))
    except BaseException:  # also Ctrl-C: no crops without a journal stay behind
        _remove_crops(job.output, job.old_crops())
        raise
    return result


def _one_line(path: Path, error: OSError) -> str:
    name = error.filename or path
    return f"{name}: cannot be read ({error.strerror or error}). Check the path."


def _save_crop(job: _Job, crop: FaceCrop) -> tuple[Any, ...]:
    stem = Path(job.video).with_suffix("").as_posix()
    person = f"_t{crop.track_id}" if crop.track_id else ""
    name = f"{stem}_{crop.frame_index:04d}{person}.png"
    storage.write_bytes(job.output / name, encode_png(crop.rgb))
    box = (round(edge) for edge in crop.box_xyxy_px)
    return (
        name, job.video, crop.frame_index, round(crop.time_s, 6), *box,
        round(crop.confidence, 4), crop.track_id, crop.crop_scale,
        "" if crop.mask_share is None else round(crop.mask_share, 4),
    )  # fmt: skip


def _remove_crops(output: Path, crops: list[Path]) -> None:
    for crop in crops:
        crop.unlink(missing_ok=True)
    for folder in {crop.parent for crop in crops} - {output}:
        if not any(folder.iterdir()):
            folder.rmdir()


def _to_csv(results: list[VideoResult]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(FACES_CSV_COLUMNS)
    for result in results:
        table.writerows((*row, result.n_frames) for row in result.rows)
    return text.getvalue()
