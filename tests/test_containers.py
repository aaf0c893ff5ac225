"""Containers: files that their own checkers accept, with commands that mdcsd understands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from mdcsd.cli import app
from mdcsd.recipe import find_recipe, load_settings

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
JOBS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
COMPOSE = DOCKER / "compose.yaml"


def compose_commands():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    return {name: service["command"] for name, service in services.items()}


def job_container(path):
    return yaml.safe_load(path.read_text())["spec"]["template"]["spec"]["containers"][0]


def commands():
    for name, words in compose_commands().items():
        yield pytest.param(words, id=f"compose {name}")
    for path in JOBS:
        yield pytest.param(job_container(path)["args"], id=f"kubernetes {path.stem}")


def parse(words):
    """Put words through the real parser; nothing runs. Returns the parameters."""
    group = typer.main.get_command(app)
    name, *rest = words
    return group.commands[name].make_context(name, list(rest)).params


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_is_one_of_mdcsd(words):
    params = parse(words)
    if params.get("recipe"):
        load_settings(find_recipe(params["recipe"]), params["assignments"] or [], {})
    assert len(words) > 2


def test_a_misspelt_flag_would_be_seen():
    with pytest.raises(Exception, match="--video_pth"):  # typer brings a click of its own
        parse(["process-frames", "--video_pth", "/data"])


def check(tool, *words):
    program = Path(sys.executable).parent / tool
    run = subprocess.run([program, *words], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


COMPOSE_SCHEMA = ("--builtin-schema", "vendor.compose-spec")


def test_compose_is_held_against_its_schema(tmp_path):
    code, said = check("check-jsonschema", *COMPOSE_SCHEMA, str(COMPOSE))
    assert code == 0, said
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("    command:", "    comand:", 1))
    assert check("check-jsonschema", *COMPOSE_SCHEMA, str(wrong))[0] != 0


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_are_held_against_the_schema_of_kubernetes(path, tmp_path):
    code, said = check("kubernetes-validate", "--strict", str(path))
    assert code == 0, said
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text().replace("restartPolicy", "restartPolcy"))
    assert check("kubernetes-validate", "--strict", str(wrong))[0] != 0


def test_the_dockerfile_is_held_against_hadolint(tmp_path):
    code, said = check("hadolint", str(DOCKER / "Dockerfile"))
    assert code == 0, said
    wrong = tmp_path / "Dockerfile"
    wrong.write_text((DOCKER / "Dockerfile").read_text() + "\nFROM python\nRUN cd / && sudo ls\n")
    assert check("hadolint", str(wrong))[0] != 0


def test_images_are_pinned_and_run_without_root():
    text = (DOCKER / "Dockerfile").read_text()
    bases = re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.M)
    assert bases and all(re.search(r":\d", base) for base in bases)
    for stage in re.findall(r"^FROM (\S+)", text, re.M):
        assert stage == "${PYTHON_IMAGE}" or stage == "base"
    for target in ("cpu", "cuda"):
        stage = text.split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0]
        assert "USER 10001" in stage and 'ENTRYPOINT ["mdcsd"]' in stage
    for path in JOBS:
        container = job_container(path)
        assert container["securityContext"]["readOnlyRootFilesystem"]


def test_what_the_image_copies_is_there_and_not_ignored():
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    for words in re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / "Dockerfile").read_text(), re.M):
        for source in words.split()[:-1]:
            assert (ROOT / source).exists() and source in kept, source


def test_no_path_of_a_cluster_or_a_machine():
    for path in (*JOBS, COMPOSE):
        text = path.read_text()
        assert "hostPath" not in text and "nodeName" not in text and "nodeSelector" not in text
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        assert all(volume.startswith("${MDCSD_") for volume in service["volumes"])


def test_the_server_is_reached_from_this_machine_only_and_writes_where_it_may():
    web = yaml.safe_load(COMPOSE.read_text())["services"]["web"]
    assert web["ports"] == ["127.0.0.1:8000:8000"]
    assert web["read_only"] and web["cap_drop"] == ["ALL"]
    params = parse(web["command"])
    assert params["host"] == "0.0.0.0" and params["allow_host"] == ["localhost"]
    assert str(params["data"]).startswith("/runs/")
    assert params["weights"] is None  # the embedded detector's, which the image holds


def test_the_four_commands_of_the_readme_are_services_and_jobs():
    text = (DOCKER / "README.md").read_text()
    shown = re.findall(r"run --rm (\S+)$", text, re.M)
    assert shown == ["process-frames", "prepare-dataset", "train", "test"]
    assert set(shown) <= set(compose_commands())
    applied = re.findall(r"apply -f (\S+)", text)
    assert [ROOT / path for path in applied] == [
        DOCKER / "kubernetes" / f"{name}.yaml" for name in shown
    ]
