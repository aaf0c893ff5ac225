"""Schemathesis against the server's own OpenAPI: `python tests/fuzz_api.py SECONDS [SEED]`.

The judge behind it is a fake, so that time goes into requests: valid ones, invalid ones, and
chains of upload, status, report and deletion. No answer may be a 500 or other than described.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from served import FAKES, serving

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "unsupported_method",
    "allow_header_conformance", "use_after_free", "negative_data_rejection",
)  # fmt: skip


def fuzz(seconds: int, seed: int = 1, examples: int = 30) -> subprocess.CompletedProcess[str]:
    """Fuzz a fresh server for at most so long; the exit code is 0 if nothing was found."""
    program = Path(sys.executable).parent / "st"
    with tempfile.TemporaryDirectory() as folder, serving([*FAKES, folder]) as served:
        return subprocess.run(
            [program, "run", f"{served.url}/openapi.json", "--checks", ",".join(CHECKS),
             "--phases", "examples,coverage,fuzzing,stateful", "--max-time", str(seconds),
             "--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none",
             "--request-timeout", "20", "--no-color"],
            cwd=folder, capture_output=True, text=True,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks",
                 "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )  # fmt: skip


if __name__ == "__main__":
    seed = int(sys.argv[2]) if sys.argv[2:] else secrets.randbelow(2**31)
    print(f"seed {seed}", flush=True)
    done = fuzz(int(sys.argv[1]), seed)
    print(done.stdout, done.stderr)
    sys.exit(done.returncode)
