"""The house rules: one-way imports, light start, libraries behind their one door."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mdcsd

PACKAGE = Path(mdcsd.__file__).parent

# Rooms in the order in which data flows; each imports only those above it.
ROOMS = (
    "errors", "nouns", "judging_nouns", "config", "augment_config",
    "judging_config", "settings", "recipe", "settings_text",
    "inputs", "storage", "machine", "default_weights", "catalogue",
    "pictures", "frame_choice", "decode_plan", "damage",
    "container", "decoding", "frame_graph", "frame_picture", "deinterlace", "video", "encoding",
    "media_facts", "faces", "tracks", "persons", "masks",
    "face_crops", "cut_journal", "process_frames",
    "representation", "crops", "source_scan", "source_lists", "source_layouts",
    "sources", "splits", "datasets", "tfrecord", "records",
    "shard_set", "split_writer", "prepare_dataset",
    "augment", "donors", "blend_masks", "blend", "preprocess", "loader", "training_faces",
    "frequency", "backbones", "network", "checkpoint", "embedding", "averaging",
    "metrics", "bootstrap", "optim", "distributed", "inference", "calibration",
    "runs", "autoencoder",
    "training_setup", "training_loss", "spectrum_fit", "depthwise", "learner",
    "training_step", "training",
    "explain", "evidence", "quality", "wording",
    "detector", "perturb", "score_journal", "video_scores", "predictions",
    "evaluation_report", "verdict_counts",
    "comparison", "class_figures", "data_scores", "evaluation", "model_card",
    "plots", "evaluation_page",
    "export",
    "report_facts", "report", "report_index", "detect_file", "detect_pool", "detect_tables",
    "detect_batch",
    "reproduce_compare", "reproduce", "reproduce_estimate", "reproduce_table",
    "strips", "blend_preview",
    "web", "bench", "bench_network", "bench_serve", "demo",
    "cli", "__main__",
)  # fmt: skip

ONLY_HERE = {
    "av": {
        "container",
        "decoding",
        "deinterlace",
        "encoding",
        "frame_graph",
        "frame_picture",
        "video",
    },
    "PIL": {"pictures"},
    "pillow_heif": {"pictures"},
    "ai_edge_litert": {"faces"},
    "google_crc32c": {"tfrecord"},
    "timm": {"backbones"},
    "safetensors": {"backbones", "checkpoint"},
    "sklearn": {"metrics"},
    "matplotlib": {"plots"},
    "jinja2": {"evaluation_page", "report", "web"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "pydantic": {"web"},
    "uvicorn": {"web"},
    "sqlite3": {"web"},
    "c2pa": {"media_facts"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "onnxscript": {"export"},
    "dlib": {"bench"},
    "typer": {"cli"},
    "rich": {"cli"},
}


# A person asks a verdict for its page: the one import against the stream, inside a method.
UPWARD = {("judging_nouns", "report")}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "mdcsd":
                yield from (f"mdcsd.{alias.name}" for alias in node.names)
            yield node.module


def test_every_file_has_its_place_in_the_order():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"} == set(ROOMS)


def test_rooms_import_only_rooms_above_them():
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        if room == "__init__":
            continue
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "mdcsd" and len(parts) > 1 and parts[1] in ROOMS:
                above = ROOMS.index(parts[1]) < ROOMS.index(room)
                allowed = above or parts[1] == room or (room, parts[1]) in UPWARD
                assert allowed, f"{path.name} imports {name}"


def test_libraries_stay_behind_their_door():
    for path in PACKAGE.rglob("*.py"):
        for name in imports_of(path):
            allowed = ONLY_HERE.get(name.split(".")[0])
            assert allowed is None or room_of(path) in allowed, f"{path.name} imports {name}"
            if name.startswith("torch.distributed"):
                assert room_of(path) == "distributed"


def loaded_after(code: str) -> set[str]:
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


HEAVY = {
    "torch",
    "ray",
    "fastapi",
    "cv2",
    "av",
    "timm",
    "sklearn",
    "scipy",
    "tensorboard",
    "matplotlib",
    "jinja2",
    "uvicorn",
    "sqlite3",
    "c2pa",
}


def test_importing_is_light():
    assert not loaded_after("import mdcsd") & HEAVY


def test_judging_loads_no_scikit_learn():
    assert "sklearn" not in loaded_after("import mdcsd.detector")


@pytest.mark.parametrize("command", [["detect"], ["explain", "--output", "strips"]])
@pytest.mark.parametrize("name", ["gone.mp4", "words.mxf", "words.jpg", "words.txt"])
def test_a_file_that_cannot_be_judged_is_said_before_a_network_is_loaded(tmp_path, command, name):
    if name.startswith("words"):
        (tmp_path / name).write_text("no picture")
    words = [*command, str(tmp_path / name)]
    code = f"""
from mdcsd.cli import main
try:
    main({words!r})
except SystemExit as left:
    assert left.code == 2
else:
    raise AssertionError("no exit")"""
    assert not loaded_after(code) & {"torch", "timm"}


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "9"}, "9"), ({"OMP_WAIT_POLICY": "x"}, None)],
)
def test_waiting_threads_leave_their_core_unless_the_user_says_otherwise(given, spins, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    code = """
import os
from mdcsd.cli import main
try:
    main(["--version"])
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"))"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == str(spins)


COMMANDS = (
    "process-frames", "prepare-dataset", "train", "test", "detect", "explain", "demo", "bench",
    "blend", "calibrate", "evaluate", "reproduce", "datasets", "serve", "embed", "card", "average",
    "settings", "autoencoder",
)  # fmt: skip


def test_help_is_light():
    """Of all commands in one process, where what one of them imports stays."""
    code = (
        "from mdcsd.cli import main\n"
        f"for words in ([], *([name] for name in {COMMANDS})):\n"
        "    try:\n        main([*words, '--help'])\n"
        "    except SystemExit as leave:\n        assert leave.code == 0, words"
    )
    assert not loaded_after(code) & HEAVY


def test_public_names():
    assert mdcsd.__all__ == ["Detector", "Verdict", "detect", "evaluate", "train"]
    for name in mdcsd.__all__:
        assert callable(getattr(mdcsd, name))


def test_nothing_of_this_machine_is_in_the_sources():
    for path in PACKAGE.rglob("*.py"):
        assert str(Path.home()) + "/" not in path.read_text()
