"""Settings of what training does to its faces: degradations, and pseudo-fakes made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mdcsd.config import Device, check, check_counts


@dataclass(frozen=True)
class AugmentConfig:
    """Degradations of training faces, real and fake alike; off, as the paper has none."""

    enabled: bool = False
    """Degrade training faces at all; the chances below count only then."""
    flip: float = 0.5
    """Chance of a mirrored face, 0 to 1."""
    crop: float = 0.7
    """Chance of another crop, 0 to 1."""
    crop_shift: float = 0.03
    """Largest shift of the crop to either side, as a share of its side."""
    crop_zoom: float = 0.06
    """Largest enlargement by the crop, as a share; it never shrinks."""
    crop_turn_deg: float = 0.0
    """Largest turn of the crop either way, degrees."""
    colour: float = 0.3
    """Chance of other colours, 0 to 1."""
    brightness: float = 0.12
    """Largest change of brightness either way, as a share of the full range."""
    contrast: float = 0.15
    """Largest change of contrast either way, as a share."""
    saturation: float = 0.2
    """Largest change of saturation either way, as a share."""
    hue_deg: float = 5.0
    """Largest turn of the hue either way, degrees."""
    blur: float = 0.15
    """Chance of a Gaussian blur, 0 to 1."""
    blur_px: float = 1.5
    """Largest sigma of the blur, pixels; the smallest is .3."""
    rescale: float = 0.25
    """Chance of shrinking and enlarging again, 0 to 1."""
    rescale_smallest: float = 0.4
    """Smallest side on the way, as a share of the side."""
    noise: float = 0.15
    """Chance of Gaussian noise, 0 to 1."""
    noise_sigma: float = 5.0
    """Largest sigma of the noise, in steps of 0 to 255."""
    h264: float = 0.2
    """Chance of compression as H.264, by itself or as the last of two or three frames, 0 to 1."""
    h264_lowest: int = 22
    """Finest constant rate factor of that compression, 0 to 51."""
    h264_highest: int = 38
    """Coarsest constant rate factor of that compression, the same scale."""
    jpeg: float = 0.5
    """Chance of a JPEG round trip, 0 to 1."""
    jpeg_lowest: int = 40
    """Lowest JPEG quality, 1 to 100."""
    jpeg_highest: int = 100
    """Highest JPEG quality, 1 to 100."""
    cutout: float = 0.0
    """Chance of a rectangle painted over, 0 to 1."""
    cutout_largest: float = 0.5
    """Longest side of that rectangle, as a share of the crop's, .1 or more; the shortest is .1."""

    def __post_init__(self) -> None:
        """Refuse chances and ranges that do not exist."""
        for name in (
            "flip",
            "crop",
            "colour",
            "blur",
            "rescale",
            "noise",
            "h264",
            "jpeg",
            "cutout",
        ):
            _check_between(f"augment.{name}", getattr(self, name), 0.0, 1.0)
        for name, most in _MOST.items():
            _check_between(f"augment.{name}", getattr(self, name), 0.0, most)
        _check_between("augment.rescale_smallest", self.rescale_smallest, 0.05, 1.0)
        _check_range("augment.h264", self.h264_lowest, self.h264_highest, 0, 51)
        _check_range("augment.jpeg", self.jpeg_lowest, self.jpeg_highest, 1, 100)


@dataclass(frozen=True)
class BlendConfig:
    """Pseudo-fakes made of real faces: how many, of which kinds, in which regions.

    The weights of the kinds, and of the regions, count relative to one another.
    """

    share: float = 0.0
    """Share of each batch that is pairs of a real face and a pseudo-fake made of it, 0 to 1."""
    even_people: bool = True
    """Make blends of all people equally often; false makes them of all real faces."""
    self_blend: float = 0.55
    """Weight of blending a face with a recoloured, moved copy of itself."""
    frequency: float = 0.15
    """Weight of swapping the middle frequencies with such a copy."""
    down_up: float = 0.1
    """Weight of shrinking and enlarging inside the mask."""
    codec: float = 0.05
    """Weight of a compression inside the mask."""
    low_rank: float = 0.1
    """Weight of a reconstruction from a few principal components of small patches."""
    smooth: float = 0.05
    """Weight of an edge-keeping smoothing inside the mask."""
    autoencoder: float = 0.0
    """Weight of the face as an autoencoder of faces paints it, see `autoencoder_file`."""
    autoencoder_file: str | None = None
    """What `mdcsd autoencoder` wrote; it paints other people's faces too, see `painted_donors`."""
    face: float = 0.5
    """Weight of the whole face, or a large part of it."""
    lower_face: float = 0.15
    """Weight of the face below the nose."""
    mouth: float = 0.15
    """Weight of the mouth."""
    eyes: float = 0.1
    """Weight of the eyes with their brows."""
    nose: float = 0.1
    """Weight of the nose."""
    largest_mask: float = 0.68
    """Largest share of the crop that may be changed, above 0, to 1."""
    other_person: float = 0.0
    """Share of blends made with another person's face in place of a copy, 0 to 1.

    Another person is another source id: of faces without one self-blends are made.
    """
    painted_donors: float = 0.5
    """Share of other people's faces that `autoencoder_file`, if given, paints first, 0 to 1."""
    smallest: float = 1.0
    """Smallest side at which a blend is made, as a share of the crop's; then it is enlarged.

    Never under 24 px. `augment.rescale` is drawn apart from it, and may shrink the blend again.
    """

    def __post_init__(self) -> None:
        """Refuse shares out of range, and weights that leave nothing to draw."""
        _check_between("blend.share", self.share, 0.0, 1.0)
        _check_between("blend.largest_mask", self.largest_mask, LEAST_MASK, 1.0)
        _check_between("blend.other_person", self.other_person, 0.0, 1.0)
        _check_between("blend.painted_donors", self.painted_donors, 0.0, 1.0)
        _check_between("blend.smallest", self.smallest, 0.05, 1.0)
        for field in fields(self):
            if field.name in (*KINDS, AUTOENCODER, *REGIONS):
                _check_between(f"blend.{field.name}", getattr(self, field.name), 0.0, 1e6)
        for names in ((*KINDS, AUTOENCODER), REGIONS):
            check(
                any(getattr(self, name) > 0 for name in names),
                f"blend.{', '.join(names)}: all are 0. Give at least one of them a weight.",
            )


@dataclass(frozen=True)
class AutoencoderConfig:
    """How the autoencoder that paints faces of blends is trained, see `BlendConfig`."""

    train_datasets: tuple[str, ...] = ()
    """Training data sets of colour pixels with landmarks, of which the real faces are taken."""
    output: str | None = None
    """File to write, a .safetensors."""
    steps: int = 3000
    """Steps of training."""
    batch_size: int = 32
    """Faces a step."""
    learning_rate: float = 1.5e-3
    """Adam's highest, after a warm-up; it falls to 0."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""
    seed: int = 0
    """Seed of weights and order."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        check(self.steps >= 1, f"--steps {self.steps}: expected 1 or more.")
        check(
            self.batch_size >= 1, f"autoencoder.batch_size {self.batch_size}: expected 1 or more."
        )
        _check_between("autoencoder.learning_rate", self.learning_rate, 1e-6, 1.0)
        check_counts(self.seed, 0)


LEAST_MASK = 0.01
OTHER_PERSON = "other_person"  # the kind of blends with a donor, which weighs by its share
KINDS = ("self_blend", "frequency", "down_up", "codec", "low_rank", "smooth")
AUTOENCODER = "autoencoder"  # the kind that needs a file
REGIONS = ("face", "lower_face", "mouth", "eyes", "nose")
_MOST = {
    "crop_shift": 0.25, "crop_zoom": 1.0, "crop_turn_deg": 180.0, "brightness": 1.0,
    "contrast": 1.0, "saturation": 1.0, "hue_deg": 180.0, "blur_px": 20.0, "noise_sigma": 255.0,
    "cutout_largest": 1.0,
}  # fmt: skip


def _check_between(name: str, value: float, least: float, most: float) -> None:
    check(least <= value <= most, f"{name} {value:g}: expected {least:g} to {most:g}.")


def _check_range(name: str, lowest: int, highest: int, least: int, most: int) -> None:
    _check_between(f"{name}_lowest", lowest, least, most)
    _check_between(f"{name}_highest", highest, lowest, most)
