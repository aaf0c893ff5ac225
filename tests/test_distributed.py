"""Two processes under torchrun: equal weights, every sample once, the same steps as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib, json, os, sys
import torch
from mdcsd import loader, training
from mdcsd.recipe import load_settings

seen, original = [], loader.iter_batches
def recording(data, batches, process, workers):
    for batch in original(data, batches, process, workers):
        if torch.is_grad_enabled() and training_now:
            seen.extend("/".join(map(str, key)) for key in batch.keys)
        yield batch
training.iter_batches = recording
training_now = False
inner = training.train_one_epoch
def epoch(*arguments):
    global training_now
    training_now = True
    loss = inner(*arguments)
    training_now = False
    return loss
training.train_one_epoch = epoch
keep = {}
start = training._start
def kept(*arguments):
    keep["learner"] = start(*arguments)
    return keep["learner"]
training._start = kept

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


def test_two_processes_end_as_one(train_set, val_set, tmp_path):
    def given(name: str) -> dict:
        return {
            "network": {"name": "cnn"},
            "train": {
                "train_dataset": str(train_set), "val_dataset": str(val_set), "epochs": 2,
                "image_size": [48, 48, 3], "batch_size": 14, "output": str(tmp_path / name / "run"),
                "device": "cpu", "learning_rate": 1e-3,
            },
        }  # fmt: skip

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = run(2, given("two"), tmp_path / "two")
    assert first["weights"] == second["weights"]
    per_epoch = [len(report["seen"]) // 2 for report in (first, second)]
    for epoch in range(2):
        here = [
            key
            for report, n in zip((first, second), per_epoch, strict=True)
            for key in report["seen"][epoch * n : (epoch + 1) * n]
        ]
        assert len(here) == len(set(here)) == 64  # 64 samples, batches of 14: none twice, none lost
    assert first["losses"] == second["losses"] and first["val"] == second["val"]

    (alone,) = run(1, given("one"), tmp_path / "one")
    for name in ("losses", "val"):
        assert all(abs(a - b) < 1e-4 for a, b in zip(alone[name], first[name], strict=True))
