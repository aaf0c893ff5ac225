"""The command line: each command a short function that calls one room.

Nothing heavy is imported before a command runs, so `mdcsd --help` is quick.
Exit codes: 0 done; 2 some input could not be read or used; 1 our fault; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from mdcsd.cli import (
    autoencoder,
    average,
    bench,
    blend,
    calibrate,
    card,
    datasets,
    demo,
    detect,
    embed,
    evaluate,
    explain,
    export,
    prepare_dataset,
    process_frames,
    reproduce,
    serve,
    settings,
    test,
    train,
)
from mdcsd.errors import MdcsdError

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_INTERRUPTED = 130

# How long a thread of torch's that waits for another keeps its core busy (libgomp; unset 300,000
# turns, which beside another busy program multiplies the time of whatever runs).
_SPINS = "3000"


def _app(help_text: str) -> typer.Typer:
    return typer.Typer(
        help=help_text,
        context_settings=_SETTINGS,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
    )


app = _app("Is the face in this video real or manipulated? MD-CSDNetwork, from video to verdict.")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(
        False, "--version", help="Print version, default weights and their terms, and leave."
    ),
) -> None:
    if version:
        _say_version()
        raise typer.Exit


def _say_version() -> None:
    from importlib.metadata import version as version_of

    from mdcsd.default_weights import read_default

    print(f"mdcsd {version_of('mdcsd')}, code under Apache-2.0")
    default = read_default()
    if default is None:
        print("default weights: none embedded, give --weights CHECKPOINT")
    else:
        terms = default.licence or "no licence stated"
        print(f"default weights: {default.checkpoint_id}, {terms}")


app.command("process-frames")(process_frames.process_frames)
app.command("prepare-dataset")(prepare_dataset.prepare_dataset)
app.command("train")(train.train)
app.command("test")(test.test)
app.command("calibrate")(calibrate.calibrate)
app.command("average")(average.average)
app.command("embed")(embed.embed)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("card")(card.card)
app.command("detect")(detect.detect)
app.command("explain")(explain.explain)
app.command("serve")(serve.serve)
app.command("blend")(blend.blend)
app.command("autoencoder")(autoencoder.autoencoder)
app.command("demo")(demo.demo)
app.command("reproduce")(reproduce.reproduce)
app.command("settings")(settings.settings)
app.add_typer(datasets.app, name="datasets")
app.add_typer(bench.app, name="bench")

# The command lines of the paper's repository; an app of one command takes no command's name.
frames_script = _app("")
frames_script.command()(process_frames.process_frames)
prepare_script = _app("")
prepare_script.command()(prepare_dataset.prepare_dataset)
classifier_script = _app("Train a classifier, or test one.")
classifier_script.command("train")(train.train)
classifier_script.command("test")(test.test)
_SCRIPTS = {
    "process_frames.py": frames_script,
    "prepare_dataset.py": prepare_script,
    "classifier.py": classifier_script,
}


def main(arguments: list[str] | None = None, program: str = "mdcsd") -> None:
    """Run a command and exit with its code.

    Args:
        arguments: command and flags; None takes those of the process.
        program: what the user called, for help and error texts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    words = join_brackets(sys.argv[1:] if arguments is None else arguments)
    try:
        _SCRIPTS.get(program, app)(args=words, prog_name=program)
    except MdcsdError as error:
        _say_error(str(error))
        sys.exit(error.exit_code)
    except SystemExit as leaving:
        if leaving.code == _INTERRUPTED:
            print("interrupted: what was written before is kept", file=sys.stderr)
        raise
    except OSError as error:  # the machine's or the user's files', not ours
        _say_error(
            f"{error.filename or 'a file'}: {error.strerror or error}. Check the path, the space "
            "left, and whether you may use it."
        )
        sys.exit(2)
    except Exception:  # what is left is our fault, whatever it is: exit code 1
        traceback.print_exc()
        print("This is a bug of mdcsd: please report it with the lines above.", file=sys.stderr)
        sys.exit(1)


def _say_error(text: str) -> None:
    """Say what is wrong; a hostile file's name in it cannot move the cursor."""
    from mdcsd.judging_nouns import readable

    for line in f"error: {text}".split("\n"):
        print(readable(line), file=sys.stderr)


def join_brackets(words: list[str]) -> list[str]:
    """Join `--image_size [128, 128, 3]`, which a shell cuts into four words, into two again."""
    joined: list[str] = []
    for word in words:
        inside = joined[-2:-1] == ["--image_size"] and joined[-1].startswith("[")
        if inside and not joined[-1].endswith("]"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
