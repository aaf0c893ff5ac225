"""Is a video whole? Its frames and its time against what its header claims."""

from __future__ import annotations

from mdcsd.errors import MediaError
from mdcsd.nouns import VideoInfo

# A file may lose this share of its frames (edit lists, a bad packet) before it counts as damaged.
_TOLERATED_LOSS = 0.1
# And this share of its time, or so many frames, may be missing at its end without a word.
_UNTOLD_LOSS, _UNTOLD_FRAMES = 0.02, 10


class Damage:
    """Counts what one pass over a file yields against what the container promised."""

    def __init__(self, info: VideoInfo) -> None:
        """Start at nothing seen."""
        self.info = info
        self.n_frames = 0
        self.n_corrupt = 0
        self.end_s = 0.0

    def count(self, time_s: float | None, held_s: float, is_corrupt: bool = False) -> None:
        """Count a frame; what a clip ends with may be shown for longer than the others."""
        self.n_frames += 1
        self.n_corrupt += is_corrupt
        if time_s is not None:
            end_s = time_s - self.info.start_s + max(held_s, 1.0 / self.info.fps)
            self.end_s = max(self.end_s, end_s)

    @property
    def missing_s(self) -> float:
        """How much of the time that the header claims no frame fills, in seconds."""
        return max((self.info.duration_claimed_s or 0.0) - self.end_s, 0.0)

    @property
    def lacks_its_end(self) -> bool:
        """Whether more is missing at the end than headers are wrong by."""
        claimed_s = self.info.duration_claimed_s or 0.0
        return self.missing_s > max(_UNTOLD_LOSS * claimed_s, _UNTOLD_FRAMES / self.info.fps)

    def check(self) -> None:
        """Raise MediaError if more than a tenth of the frames, or of the claimed time, is lost."""
        name, claimed_s = self.info.path, self.info.duration_claimed_s or 0.0
        n_good = self.n_frames - self.n_corrupt
        if n_good == 0:
            raise MediaError(f"{name}: no frame can be decoded. Copy the file again.")
        is_cut = self.missing_s > max(_TOLERATED_LOSS * claimed_s, 3.0 / self.info.fps)
        if is_cut or self.n_corrupt > max(2, _TOLERATED_LOSS * self.n_frames):
            what = f"only {n_good} of {self.n_frames} frames can be decoded"
            if is_cut:
                what = f"the picture ends at {self.end_s:.1f} of {claimed_s:.1f} s"
            raise MediaError(
                f"{name}: {what}: the file is cut off or damaged. Copy it again, or save the "
                f"readable part as it is with: ffmpeg -i FILE -c copy readable{name.suffix}"
            )
