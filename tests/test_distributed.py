"""Two processes under torchrun: equal weights, every sample once, the same steps as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib, json, os, sys
import torch
from mdcsd import learner, loader, training
from mdcsd.recipe import load_settings

seen, original = [], loader.iter_batches
def recording(data, batches, process, workers, pinned):
    for batch in original(data, batches, process, workers, pinned):
        if torch.is_grad_enabled() and training_now:
            seen.extend("/".join(map(str, key)) for key in (origin.key for origin in batch.origins))
        yield batch
training.iter_batches = recording
training_now = False
inner = training.train_steps
def epoch(*arguments):
    global training_now
    training_now = True
    loss = inner(*arguments)
    training_now = False
    return loss
training.train_steps = epoch
keep = {}
start = learner.start
def kept(*arguments):
    keep["learner"] = start(*arguments)
    return keep["learner"]
learner.start = kept

given = json.loads(sys.argv[1])
result = training.train(load_settings(None, [], given))
digest = hashlib.sha256()
for name, tensor in sorted(keep["learner"].network.state_dict().items()):
    digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
report = {"seen": seen, "weights": digest.hexdigest(),
          "losses": [r.train_loss for r in result.rows], "val": [r.val_loss for r in result.rows]}
with open(f"{sys.argv[2]}.{os.environ.get('RANK', '0')}", "w") as file:
    json.dump(report, file)
"""


def run(n_processes: int, given: dict, folder: Path) -> list[dict]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    words = [str(script), json.dumps(given), str(folder / "report")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
    command = [sys.executable, *(launcher if n_processes > 1 else []), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"report.{rank}").read_text()) for rank in range(n_processes)]


def given(name: str, train_set: Path, val_set: Path, folder: Path, epochs: int) -> dict:
    return {
        "network": {"name": name, "backbone": "efficientnet_lite0"},
        "train": {
            "train_dataset": str(train_set), "val_dataset": str(val_set), "epochs": epochs,
            "image_size": [48, 48, 3], "batch_size": 12, "output": str(folder / "run"),
            "device": "cpu", "learning_rate": 1e-3, "sam_radius": 0.05,
        },
    }  # fmt: skip


def check_two(reports: list[dict], epochs: int) -> None:
    first, second = reports
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"] and first["val"] == second["val"]
    for epoch in range(epochs):
        seen: list[str] = []
        for report in reports:
            n = len(report["seen"]) // epochs
            seen += report["seen"][epoch * n : (epoch + 1) * n]
        assert len(seen) == len(set(seen)) == 128  # in batches of 12: none twice, none lost


def test_two_processes_end_with_equal_weights(train_set, val_set, tmp_path):
    check_two(run(2, given("mdcsd", train_set, val_set, tmp_path, 1), tmp_path), 1)


def test_two_processes_take_the_steps_of_one(train_set, val_set, tmp_path):
    """Of a network without batch normalisation, whose statistics each process keeps for itself."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    two = run(2, given("cnn", train_set, val_set, tmp_path / "two", 2), tmp_path / "two")
    check_two(two, 2)
    (one,) = run(1, given("cnn", train_set, val_set, tmp_path / "one", 2), tmp_path / "one")
    for name in ("losses", "val"):
        assert all(abs(a - b) < 1e-4 for a, b in zip(one[name], two[0][name], strict=True))
