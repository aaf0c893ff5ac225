"""What training sees: which samples an epoch draws, blended and degraded on the way.

Every sample's random numbers come from (seed, epoch, record, how often it came before), so that
neither the number of loader processes nor an interruption changes them, and so that a blend and the
real face it was made of, which stand side by side in a batch, are resampled, compressed and shifted
alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import cast

import numpy as np

from mdcsd.augment import frame_and_degrade
from mdcsd.augment_config import AugmentConfig, BlendConfig
from mdcsd.blend import Repaint, blend_face
from mdcsd.config import TrainConfig
from mdcsd.donors import Donor, Donors
from mdcsd.errors import DataError, SettingError
from mdcsd.loader import Classes, FaceDataset, Sample, epoch_order
from mdcsd.nouns import FloatImage, IntArray, RgbArray, require
from mdcsd.preprocess import PreprocessSpec
from mdcsd.records import FaceRecord
from mdcsd.shard_set import ShardSet

_PLAIN, _BLENDED_REAL, _BLENDED_FAKE = range(3)
_KINDS = 3
_MANIPULATED = 1
_Degraded = tuple[list[RgbArray], list[RgbArray]]
"""Faces of full quality, and the same degraded."""


class TrainingFaces(FaceDataset):
    """A data set with its augmentation.

    Of n records, index i is record i as it is, n + i the real side of a blend of record i
    and 2 n + i its manipulated side; 3 n, 6 n, ... more are the same record degraded and blended
    by other random numbers. Without augmentation and blends it is a `FaceDataset`.
    """

    def __init__(
        self,
        shards: ShardSet,
        spec: PreprocessSpec,
        classes: Classes,
        augment: AugmentConfig,
        blend: BlendConfig,
        seed: int,
        repaint: Repaint | None = None,
        keeps_intact: bool = False,
    ) -> None:
        """Open every shard; raises RecordError if one is damaged or cut off.

        With `keeps_intact` samples hold each face as it was before it lost quality, too.
        """
        super().__init__(shards, spec, classes)
        self._keeps_intact = keeps_intact
        self._repaint = repaint
        self.epoch = 0
        self._augment = augment
        self._blend = blend
        self._seed = seed
        self._donors = self._find_donors() if blend.share and blend.other_person else None
        self._last: tuple[tuple[int, int, int], FaceRecord, _Degraded] | None = None

    def __getitem__(self, index: int) -> Sample:
        """Read, verify, decode, blend, degrade and preprocess one sample."""
        block, number = divmod(index, len(self))
        repeat, kind = divmod(block, _KINDS)
        if kind == _PLAIN and not self._augment.enabled and not self._keeps_intact:
            return super().__getitem__(number)
        if kind == _PLAIN:
            record, rng = self.record(number), self._rng(number, repeat)
            faces = frame_and_degrade([cast(RgbArray, record.image)], self._augment, rng)
            return self._sample(record, faces, 0, self.class_of(record))
        which = self.epoch, number, repeat
        if self._last is None or self._last[0] != which:
            record = self.record(number)
            self._last = which, record, self._pair(record, number, repeat)
        _, record, pair = self._last
        fake = kind == _BLENDED_FAKE
        return self._sample(record, pair, int(fake), _MANIPULATED if fake else 0)

    def _sample(self, record: FaceRecord, faces: _Degraded, which: int, label: int) -> Sample:
        intact, degraded = faces
        before = intact[which] if self._keeps_intact else None
        return self.sample(record, degraded[which], label, before)

    def _pair(self, record: FaceRecord, number: int, repeat: int) -> _Degraded:
        """Blend a real face with itself or another's, and degrade both sides alike."""
        rng = self._rng(number, repeat)
        rgb = cast(RgbArray, record.image)
        require(record.landmarks_xy is not None, f"record {number}: a blend without landmarks")
        points = cast(FloatImage, record.landmarks_xy) * rgb.shape[0]
        blend = blend_face(rgb, points, self._blend, rng, self._donor(record, rng), self._repaint)
        return frame_and_degrade([blend.real, blend.fake], self._augment, rng)

    def _find_donors(self) -> Donors:
        """Gather the real faces of known people that have landmarks."""
        labels = self.labels()
        found = [
            (number, cast(FloatImage, self.landmarks(number)), person)
            for number, (person, known) in enumerate(self.people())
            if known and person and labels[number] == 0
        ]
        if len({person for *_, person in found}) < 2:
            raise DataError(
                f"{self._shards.path}: blend.other_person needs real crops with landmarks of two "
                f"known people at least; {len(found)} crop(s) have both. Prepare the data set "
                "with --landmarks, from a catalogue, or give --set blend.other_person=0."
            )
        numbers, landmarks, people = zip(*found, strict=True)
        return Donors(np.array(numbers, np.int64), landmarks, people)

    def _donor(self, record: FaceRecord, rng: np.random.Generator) -> Donor | None:
        """Another person's face for some of the blends, by `blend.other_person`."""
        if self._donors is None or rng.random() >= self._blend.other_person or not record.person:
            return None
        number = self._donors.choose(cast(FloatImage, record.landmarks_xy), record.person, rng)
        if number is None:
            return None
        other = self.record(number)
        rgb = cast(RgbArray, other.image)
        return Donor(rgb, cast(FloatImage, other.landmarks_xy) * rgb.shape[0])

    def _rng(self, number: int, repeat: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self.epoch, number, repeat])


class EpochDraw:
    """Draws the samples of each epoch, see `draw_epoch`; the same for every process."""

    def __init__(self, data: TrainingFaces, config: TrainConfig, blend: BlendConfig) -> None:
        """Look through the data set for what is drawn by.

        Raises: DataError if blends are asked for and no real face has landmarks, couples and
            nobody is both real and manipulated, or unpaired real faces and there are none;
            SettingError if the loss would weigh classes by records where many are blends, or
            shares are more than 1 together.
        """
        self.n_drawn = config.epoch_samples or len(data)
        self._config = config
        self._blend = blend
        share = blend.share
        if share + config.unpaired_real > 1:
            raise SettingError(
                f"blend.share {share:g} and train.unpaired_real {config.unpaired_real:g} are more "
                "than 1 together. Lower one of them."
            )
        self._labels = data.labels()
        if share and config.balance == "loss":
            raise SettingError(
                "train.balance = loss counts records, which blends are not. Give sampling or "
                "couples."
            )
        if share < 1 and config.balance == "couples" and not (self._labels > 0).any():
            raise DataError(
                f"{config.train_dataset}: train.balance = couples needs manipulated faces, and "
                "there are none. Give --set blend.share=1, or another balance."
            )
        self._identities: list[str] = []
        self._blendable: IntArray = np.empty(0, np.int64)
        if share or config.balance == "couples":
            people = data.people()
            self._identities = [identity for identity, _ in people]
            has_landmarks = np.array([found for _, found in people])
            self._blendable = np.flatnonzero(has_landmarks & (self._labels == 0))
        if share and not len(self._blendable):
            raise DataError(
                f"{config.train_dataset}: blend.share = {share:g} needs real crops with landmarks, "
                "and there are none. Prepare the data set with --landmarks."
            )
        if share < 1 and config.balance == "couples":
            real_of = _real_of(self._labels, self._identities)
            fakes = np.flatnonzero(self._labels > 0).tolist()
            if not any(self._identities[number] in real_of for number in fakes):
                raise DataError(
                    f"{config.train_dataset}: train.balance = couples needs real faces of the "
                    "people who are manipulated, and no source id is of both. Give --set "
                    "train.balance=sampling, or name files after their originals (000_003 and 000)."
                )
        if config.unpaired_real and not len(find_unpaired(self._labels, self._identities)):
            raise DataError(
                f"{config.train_dataset}: train.unpaired_real = {config.unpaired_real:g} needs "
                "real faces of people of whom none is manipulated, and there are none. Add a set "
                "of real faces with --set 'train.also=[\"REAL_tf\"]'."
            )

    def __call__(self, epoch: int) -> IntArray:
        """Draw an epoch, counted from 0."""
        config, blend = self._config, self._blend
        drawn = draw_epoch(
            self._labels, self._identities, self._blendable, blend.share, config.balance,
            self.n_drawn, config.seed, epoch, blend.even_people, config.even_people,
            config.unpaired_real,
        )  # fmt: skip
        return _KINDS * len(self._labels) * count_repeats(drawn) + drawn


def draw_epoch(
    labels: IntArray,
    identities: list[str],
    blendable: IntArray,
    share: float,
    balance: str,
    n_drawn: int,
    seed: int,
    epoch: int,
    even_people: bool = True,
    even_couples: float = 0.0,
    unpaired: float = 0.0,
) -> IntArray:
    """Draw the samples of an epoch, in couples that stay side by side.

    Args:
        labels: class index of each of n records, int64 (n,).
        identities: who is in each record.
        blendable: numbers of the real records that have landmarks.
        share: of the samples that are self-blends and the real faces they were made of.
        balance: `sampling` draws classes equally often; `couples` draws manipulated faces
            each with a real one of the same person, where there is one; else as they are.
        n_drawn: samples to draw.
        even_people: blends are made of all people equally often. Else portraits of a thousand
            people are hardly seen blended beside thousands of frames of a few hundred, and a
            network that learns real fakes of blurred video too takes sharp for real.
        even_couples: 0 draws couples by the manipulated faces there are, 1 of all people equally
            often as far as their faces go, .5 by the square root of each one's number.
        unpaired: share of the samples that are real faces, with or without landmarks, of people
            without a manipulated one, of all such people equally often.

    Returns: indices of `TrainingFaces`, int64 (n_drawn,), or one more where all are blends and
        the number is odd; none yet a repeat.
    """
    n, n_pairs = len(labels), round(share * n_drawn / 2)
    n_unpaired = min(round(unpaired * n_drawn / 2), (n_drawn + 1) // 2 - n_pairs)  # in twos
    n_plain = max(n_drawn - 2 * (n_pairs + n_unpaired), 0)  # blends alone may be one more
    rng = np.random.default_rng([seed, epoch, n])
    if balance == "couples":
        plain = _couples(labels, identities, n_plain, even_couples, rng)
    elif n_plain:
        plain = epoch_order(n, seed, epoch, labels if balance == "sampling" else None, n_plain)
    else:
        plain = np.empty(0, np.int64)
    if not n_pairs and balance != "couples":
        return plain
    if even_people:
        blended = _one_of_each_person(blendable, identities, n_pairs, rng)
    else:
        blended = np.resize(rng.permutation(blendable), n_pairs)
    pairs = np.stack([_BLENDED_REAL * n + blended, _BLENDED_FAKE * n + blended], axis=1)
    if n_unpaired:
        real = find_unpaired(labels, identities)
        alone = _one_of_each_person(real, identities, 2 * n_unpaired, rng).reshape(-1, 2)
        pairs = np.concatenate([pairs, alone])
    loose = plain[2 * (len(plain) // 2) :]
    couples = np.concatenate([plain[: len(plain) - len(loose)].reshape(-1, 2), pairs])
    return np.concatenate([rng.permutation(couples).ravel(), loose])


def find_unpaired(labels: IntArray, identities: list[str]) -> IntArray:
    """Find the real faces of people of whom no face is manipulated: numbers, int64 (k,)."""
    manipulated = {identities[number] for number in np.flatnonzero(labels > 0)}
    real = np.flatnonzero(labels == 0).tolist()
    return np.array([n for n in real if identities[n] not in manipulated], np.int64)


def count_repeats(indices: IntArray) -> IntArray:
    """Count how often each index stands before: 0 at its first place, then 1, 2, ..."""
    order = np.argsort(indices, kind="stable")
    _, first, counts = np.unique(indices[order], return_index=True, return_counts=True)
    repeats = np.empty(len(indices), np.int64)
    repeats[order] = np.arange(len(indices)) - np.repeat(first, counts)
    return repeats


def _one_of_each_person(
    numbers: IntArray, identities: list[str], n_drawn: int, rng: np.random.Generator
) -> IntArray:
    """Draw records of each person equally often, anew whichever of theirs."""
    of_person: dict[str, list[int]] = defaultdict(list)
    for number in numbers.tolist():
        of_person[identities[number]].append(number)
    people = list(of_person.values())
    drawn = np.resize(rng.permutation(len(people)), n_drawn)
    return np.array([_one_of(people[person], rng) for person in drawn.tolist()], np.int64)


def _couples(
    labels: IntArray, identities: list[str], n_drawn: int, even: float, rng: np.random.Generator
) -> IntArray:
    """Manipulated faces, each beside a real one of the same person if there is one."""
    real_of = _real_of(labels, identities)
    everybody = np.flatnonzero(labels == 0).tolist()
    fakes = _drawn_evenly(np.flatnonzero(labels > 0), identities, (n_drawn + 1) // 2, even, rng)
    drawn = [
        each
        for fake in fakes.tolist()
        for each in (_one_of(real_of.get(identities[fake]) or everybody, rng), fake)
    ]
    return np.array(drawn[:n_drawn], np.int64)


def _real_of(labels: IntArray, identities: list[str]) -> dict[str, list[int]]:
    """Numbers of the real faces of each person."""
    real_of: dict[str, list[int]] = defaultdict(list)
    for number in np.flatnonzero(labels == 0).tolist():
        real_of[identities[number]].append(number)
    return real_of


def _one_of(numbers: list[int], rng: np.random.Generator) -> int:
    return numbers[int(rng.integers(len(numbers)))]


def _drawn_evenly(
    numbers: IntArray, identities: list[str], n_drawn: int, even: float, rng: np.random.Generator
) -> IntArray:
    """Draw records, none twice before all were drawn, a person's n by a weight of n^(1 - even)."""
    of_record = [identities[number] for number in numbers.tolist()]
    counts = Counter(of_record)
    weights = np.array([counts[person] ** -even for person in of_record])
    # The order of (uniform)^(1 / weight), highest first, draws by weight without putting back:
    # Efraimidis & Spirakis, Weighted random sampling with a reservoir, 2006.
    order = np.argsort(np.log(rng.random(len(numbers))) / weights)[::-1]
    return np.resize(numbers[order], n_drawn)
