"""All sections of a recipe together."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdcsd.augment_config import AugmentConfig, AutoencoderConfig, BlendConfig
from mdcsd.config import NetworkConfig, PrepareDatasetConfig, ProcessFramesConfig, TrainConfig
from mdcsd.judging_config import (
    CalibrateConfig,
    DetectConfig,
    EvaluateConfig,
    ProtocolConfig,
    TestConfig,
)


@dataclass(frozen=True)
class Settings:
    """All sections of a recipe."""

    process_frames: ProcessFramesConfig = field(default_factory=ProcessFramesConfig)
    prepare_dataset: PrepareDatasetConfig = field(default_factory=PrepareDatasetConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    test: TestConfig = field(default_factory=TestConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    given: frozenset[str] = frozenset()
    """Names "section.key" that recipe, --set or a flag set, as opposed to standing defaults."""
