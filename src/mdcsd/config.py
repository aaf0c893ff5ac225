"""Settings of making data and learning: small dataclasses, one sentence and unit per field.

Every section checks itself at birth, so impossible pairs are refused before any work
starts. `recipe.py` fills them from TOML, `--set` and flags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdcsd.errors import SettingError

Representation = Literal["raw", "dct", "dct_log_scaled"]
Model = Literal["cnn", "xception", "mdcsd"]
Stitch = Literal["scalar", "channel", "none"]
Frequency = Literal["dct", "fft", "dwt", "block_dct", "residual"]
Branches = Literal["both", "rgb", "frequency"]
Backbone = Literal["xception", "efficientnet_lite0", "efficientnet_lite2"]
Pretrained = Literal["none", "rgb", "both"]
Pool = Literal["track", "mean", "topk"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32"]


def check(condition: bool, message: str) -> None:
    """Raise SettingError unless a condition holds."""
    if not condition:
        raise SettingError(message)


def check_counts(seed: int, workers: int) -> None:
    """Refuse seeds and numbers of processes below 0."""
    check(seed >= 0, f"--seed {seed}: expected 0 or more.")
    check(workers >= 0, f"--workers {workers}: expected 0 or more.")


@dataclass(frozen=True)
class FrameSelection:
    """Which frames of a video to take; both ends count decoded frames from 0."""

    start: int = 0
    """First frame, inclusive."""
    end: int | None = None
    """Frame to stop before; none means the end of the video."""
    n_evenly: int | None = None
    """Take this many, spaced evenly over the whole range."""
    every_s: float | None = None
    """Take one frame each so many seconds."""

    def __post_init__(self) -> None:
        """Refuse empty ranges and two rules at once."""
        check(self.start >= 0, f"--start_frame {self.start}: expected 0 or more.")
        check(
            self.end is None or self.end > self.start,
            f"--end_frame {self.end}: expected more than --start_frame {self.start} (exclusive).",
        )
        check(
            self.n_evenly is None or self.every_s is None,
            "--frames and --every exclude each other. Give one of them.",
        )
        check(self.n_evenly is None or self.n_evenly > 0, "--frames: expected 1 or more.")
        check(self.every_s is None or self.every_s > 0, "--every: expected seconds above 0.")


@dataclass(frozen=True)
class ProcessFramesConfig:
    """Videos -> face crops."""

    video_path: str = ""
    """A video, a folder of videos, read recursively, or a catalogue.csv of `datasets scan`."""
    output_path: str = "frames"
    """Folder for the crops and faces.csv."""
    start_frame: int = 0
    """First frame, inclusive, counted from 0."""
    end_frame: int | None = None
    """Frame to stop before."""
    frames: int | None = None
    """Take this many frames, spaced evenly over the video."""
    every: float | None = None
    """Take one frame each so many seconds."""
    faces: Literal["largest", "all"] = "largest"
    """The largest face of a frame, or all of them."""
    size: int = 299
    """Side of the crops, pixels."""
    scale: float = 1.3
    """Side of the crop over the side of the detector's box."""
    workers: int = 0
    """Processes; 0 means one per core."""

    def __post_init__(self) -> None:
        """Refuse sizes that no crop can have."""
        check(self.size >= 32, f"--size {self.size}: expected at least 32 pixels.")
        check(1.0 <= self.scale <= 4.0, f"--scale {self.scale}: expected 1.0 to 4.0.")
        check_counts(0, self.workers)
        self.selection()

    def selection(self) -> FrameSelection:
        """The frames these settings choose."""
        return FrameSelection(self.start_frame, self.end_frame, self.frames, self.every)


@dataclass(frozen=True)
class PrepareDatasetConfig:
    """Folder of crops -> TFRecord shards."""

    directory: str = ""
    """Class folders, split/class, class/split, images alone, or a catalogue.csv of crops."""
    raw: bool = False
    """Keep pixels; otherwise DCT coefficients are stored."""
    log: bool = False
    """Store the logarithm of the coefficients' magnitude."""
    color: bool = False
    """Three channels; otherwise luma."""
    float_list: bool = False
    """Write the original feature layout (image float_list, label, shape) for old readers."""
    output: str | None = None
    """Folder that receives the data-set folders; none means beside DIRECTORY."""
    crop_scale: float = 1.3
    """Crop scale of images that no faces.csv describes."""
    landmarks: bool = False
    """Find FaceMesh's 468 points in each real crop and keep them: self-blends need them."""
    shard_mb: int = 256
    """Largest size of one .tfrecords file, MB."""
    catalogue: str | None = None
    """Take only the videos of this catalogue.csv out of DIRECTORY, with its splits."""
    seed: int = 0
    """Seed of the 80/10/10 split and of the order of records."""
    workers: int = 0
    """Threads that read and transform; 0 means one per core."""

    def __post_init__(self) -> None:
        """Refuse log-scaled pixels, which no network here reads."""
        check(
            not (self.raw and self.log),
            "--raw --log together: pixels are not log-scaled. Give --raw for pixels, or --log "
            "alone for log-scaled DCT coefficients.",
        )
        check(
            self.raw or not self.landmarks,
            "--landmarks without --raw: blends are made of pixels. Give --raw too.",
        )
        check(
            not (self.landmarks and self.float_list),
            "--landmarks --float-list together: the original layout has no place for them. Leave "
            "one away.",
        )
        check(self.shard_mb > 0, f"shard_mb {self.shard_mb}: expected 1 or more.")
        check(
            1.0 <= self.crop_scale <= 4.0, f"--crop_scale {self.crop_scale}: expected 1.0 to 4.0."
        )
        check_counts(self.seed, self.workers)

    @property
    def representation(self) -> Representation:
        """What the records hold."""
        if self.raw:
            return "raw"
        return "dct_log_scaled" if self.log else "dct"


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of the network: all that is needed, with the input's, to build it anew."""

    name: Model = "mdcsd"
    """cnn, xception, or mdcsd, the paper's cross-stitched network."""
    backbone: Backbone = "xception"
    """The two branches of mdcsd."""
    branches: Branches = "both"
    """Both branches of mdcsd, or one of them alone, for comparison."""
    stitch: Stitch = "scalar"
    """2x2 scalars a unit (the paper), 2x2 per channel, or none: scaled but never mixed."""
    frequency: Frequency = "dct"
    """What the second branch of mdcsd sees; dct is the paper's log-scaled DCT."""
    dropout: float = 1.0
    """Multiplies the paper's dropout rates (.5 and .2); 0 switches them off."""
    pretrained: Pretrained = "none"
    """Which branches start from ImageNet; the paper's is rgb."""
    pretrained_file: str | None = None
    """ImageNet weights of the backbone as safetensors with timm's names; none asks timm."""
    mirror: bool = False
    """Judge a face by the mean of the answers to it and to its mirror image, at twice the cost."""

    def __post_init__(self) -> None:
        """Refuse branches on networks that have none."""
        check(0.0 <= self.dropout <= 1.9, f"network.dropout {self.dropout}: expected 0 to 1.9.")
        check(
            self.pretrained == "none" or self.name != "cnn",
            "network.pretrained: cnn has no ImageNet weights. Leave it at none.",
        )
        check(
            self.branches == "both" or self.name == "mdcsd",
            f"network.branches = {self.branches}: only mdcsd has branches. Leave it at both.",
        )
        check(
            self.pretrained_file is None or self.pretrained != "none",
            "network.pretrained_file is set but network.pretrained is none. Set it to rgb or both.",
        )


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained; defaults are the paper's repository's."""

    train_dataset: str = ""
    """Data-set folder or .tfrecords file to learn from."""
    also: tuple[str, ...] = ()
    """More data sets to learn from, of the same crop scale; real faces alone are welcome."""
    val_dataset: str = ""
    """The same, for choosing the best epoch and the thresholds."""
    epochs: int = 50
    """Passes over the training set at most."""
    epoch_samples: int = 0
    """Samples an epoch draws; 0 takes the whole set. Smaller epochs are safer to interrupt."""
    start_from: str | None = None
    """Checkpoint of the same network whose weights training starts from; none starts anew."""
    image_size: tuple[int, ...] = (128, 128, 3)
    """Input side in pixels; (S,), (S, S) or (S, S, channels)."""
    choose_by: Literal["loss", "auc"] = "loss"
    """What validation decides by, the best epoch, early stopping and plateau: the lowest loss, or
    the highest AUC of single faces, which is the same however sure the network is."""
    early_stopping: int = 5
    """Stop after so many epochs without a better one, see `choose_by`; 0 never stops."""
    classes: int = 5
    """Upper bound on the data's number of classes."""
    binary: bool = False
    """Merge every manipulation into one class."""
    manipulations: tuple[str, ...] = ()
    """Learn from these manipulations and the real faces only; empty means from all."""
    grayscale: bool = False
    """Turn three channels into luma at load."""
    batch_size: int = 32
    """Samples per step over all processes."""
    l1: float = 0.01
    """Intensity of mean |w|: on the kernels of cnn; if set, on the head of the others."""
    l2: float = 0.01
    """Intensity of mean w^2, likewise."""
    learning_rate: float = 2e-4
    """Adam's step."""
    stitch_rate: float = 5.0
    """Learning rate of the cross-stitch scalars over that of the rest."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """Learning rate: falls when validation stalls (the paper), or along half a cosine to 0."""
    warmup_steps: int = 0
    """Steps over which a cosine schedule rises from 0."""
    plateau_patience: int = 2
    """Epochs without a lower validation loss before the learning rate falls to a fifth."""
    balance: Literal["none", "loss", "sampling", "couples"] = "none"
    """Weigh classes equally in the loss, draw them equally often, or in couples of a person."""
    even_people: float = 0.0
    """Of whom couples are: 0 by number of manipulated faces, 1 of all people equally often, as far
    as their faces go: none comes twice in an epoch before all came once."""
    unpaired_real: float = 0.0
    """Share of samples beside couples and blends that are real faces of people without a
    manipulated one, of all such people equally often, 0 to 1: couples take such a face only where
    there is no real one of who is manipulated."""
    label_smoothing: float = 0.0
    """Targets are this far from 0 and 1, halved."""
    mixup: float = 0.0
    """Pictures of a batch are mixed by shares drawn from Beta(mixup, mixup); 0 mixes none."""
    weight_average: float = 0.0
    """Decay a step of the moving average of the weights, which is what is kept; 0: none."""
    sam_radius: float = 0.0
    """Radius of sharpness-aware minimisation: the Euclidean length, over all weights, of the way up
    the gradient after which the step's own is taken. Twice the cost; 0 is off, .05 usual."""
    frozen_stages: int = 0
    """Lower stages of each pretrained branch whose weights stay; batch-norm statistics do not."""
    compile: bool = False
    """Compile the network first (torch.compile): faster on a GPU, a CPU gains little by it."""
    teacher: str | None = None
    """Checkpoint whose scores the network learns beside the labels (distillation)."""
    teacher_share: float = 0.5
    """Share of the loss that is the teacher's."""
    teacher_sees: Literal["degraded", "intact"] = "degraded"
    """The pupil's pictures, or the same faces before `[augment]` takes quality away (blur, rescale,
    noise, h264, jpeg, cutout): the pupil then learns to judge them as if it had not."""
    output: str | None = None
    """Run folder; none makes runs/MODEL-DATE-TIME-XXXX."""
    resume: str | None = None
    """Run folder to go on with."""
    save_steps: int = 1000
    """Steps between saves within an epoch, for `resume`; 0 saves at the end of epochs alone."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""
    precision: Precision = "auto"
    """auto multiplies in bfloat16 on CUDA and on processors that have it; float32 never does. Of
    training's steps alone: judging and validating are in bfloat16 on CUDA, in float32 on a CPU."""
    seed: int = 0
    """Seed of weights, order and dropout."""
    workers: int = 0
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self) -> None:
        """Refuse sizes and rates out of range."""
        check(self.epochs >= 1, f"--epochs {self.epochs}: expected 1 or more.")
        check(self.epoch_samples >= 0, "train.epoch_samples: expected 0 (all) or more.")
        check(self.batch_size >= 2, f"--batch_size {self.batch_size}: expected 2 or more.")
        check(self.classes >= 2, f"--classes {self.classes}: expected 2 or more.")
        check(self.learning_rate > 0, "train.learning_rate: expected more than 0.")
        check(self.stitch_rate > 0, "train.stitch_rate: expected more than 0.")
        check(self.plateau_patience >= 0, "train.plateau_patience: expected 0 or more.")
        check(self.save_steps >= 0, "train.save_steps: expected 0 (at epochs' ends) or more.")
        check(0 <= self.label_smoothing < 1, "train.label_smoothing: expected 0 to below 1.")
        check(0 <= self.even_people <= 1, "train.even_people: expected 0 to 1.")
        check(0 <= self.unpaired_real <= 1, "train.unpaired_real: expected 0 to 1.")
        check(
            not self.unpaired_real or self.balance == "couples",
            f"train.unpaired_real: train.balance = {self.balance} leaves no real face out. Give "
            "--set train.balance=couples, or leave it at 0.",
        )
        check(0 <= self.mixup <= 10, "train.mixup: expected 0 (none) to 10.")
        check(0 <= self.weight_average < 1, "train.weight_average: expected 0 to below 1.")
        check(0 <= self.sam_radius <= 1, "train.sam_radius: expected 0 (off) to 1.")
        check(0 <= self.frozen_stages <= 4, "train.frozen_stages: expected 0 to 4.")
        check(0 <= self.teacher_share <= 1, "train.teacher_share: expected 0 to 1.")
        check(self.warmup_steps >= 0, "train.warmup_steps: expected 0 or more.")
        check(self.l1 >= 0 and self.l2 >= 0, "--l1, --l2: expected 0 or more.")
        check(self.early_stopping >= 0, "--early_stopping: expected 0 (never) or more.")
        check_counts(self.seed, self.workers)
        check_image_size(self.image_size)


def parse_image_size(text: str) -> tuple[int, ...]:
    """Read an image size: `128`, `128,128,3` or `[128, 128, 3]`."""
    try:
        size = tuple(int(part) for part in text.strip().strip("[]()").split(","))
    except ValueError:
        raise SettingError(
            f"--image_size {text}: expected 128, 128,128,3 or [128, 128, 3]."
        ) from None
    check_image_size(size)
    return size


def check_image_size(size: tuple[int, ...]) -> None:
    """Refuse sizes that are not square, or of a number of channels that is not 1 or 3."""
    described = ",".join(str(part) for part in size)
    check(1 <= len(size) <= 3, f"--image_size {described}: expected SIDE or HEIGHT,WIDTH,CHANNELS.")
    check(len(set(size[:2])) == 1, f"--image_size {described}: crops are square, e.g. 128,128,3.")
    check(size[0] >= 32, f"--image_size {described}: expected at least 32 pixels.")
    check(len(size) < 3 or size[2] in (1, 3), f"--image_size {described}: channels are 1 or 3.")
