"""The whole way, from clips to a verdict, as `mdcsd demo` walks it."""

from __future__ import annotations

from mdcsd.checkpoint import load_checkpoint
from mdcsd.pictures import read_image


def test_from_clips_to_verdicts(demo):
    result, folder, said = demo
    assert len(list((folder / "clips" / "original").glob("*.mp4"))) == 8
    assert len(list((folder / "clips" / "Deepfakes").glob("*.mp4"))) == 8
    assert len(list((folder / "crops").rglob("*.png"))) == 16 * 16
    assert load_checkpoint(result.checkpoint).class_names == ("original", "Deepfakes")
    assert result.evaluation.report["overall"]["frame_auc"]["value"] > 0.9
    real, fake = result.verdicts
    assert real.score < fake.score
    assert read_image(result.sheet).shape == (640, 1280, 3)
    assert [line[0] for line in said] == ["1", "2", "3", "3", "3", "4", "5", "6"]
    for line in said[:-1]:
        assert str(folder) in line


def test_the_judged_clips_were_not_trained_on(demo):
    from mdcsd.loader import Classes, FaceDataset
    from mdcsd.shard_set import open_shards

    result, folder, _ = demo
    spec = load_checkpoint(result.checkpoint).preprocess
    for name in ("train", "val"):
        shards = open_shards(folder / f"crops_color_raw_{name}_tf")
        classes = Classes(shards.class_names, {n: i for i, n in enumerate(shards.class_names)})
        data = FaceDataset(shards, spec, classes)
        used = {source for i in range(len(data)) for source in data.record(i).source_ids}
        for clip in result.clips:
            assert not used & set(clip.stem.split("_"))
