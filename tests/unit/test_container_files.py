"""What containers are made of, as far as no engine is needed to tell."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
BIN = Path(sys.executable).parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))


def run(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_compose_knows_the_shape_of_its_file() -> None:
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_linter_finds_nothing_in_the_dockerfiles() -> None:
    done = run(BIN / "hadolint", "--no-color", *IMAGES)
    assert IMAGES and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_an_image_is_run_by_an_ordinary_user_and_says_how_it_is(path: Path) -> None:
    last = path.read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
    assert "pip install" not in last


@pytest.mark.parametrize("name", ["shop", "mock_api", "harness"])
def test_an_image_has_the_versions_that_are_tested(name: str) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    locked = (DOCKER / f"{name}.txt").read_text(encoding="utf-8")
    own = dict(re.findall(r"^([\w.-]+)==(\S+)", locked, re.MULTILINE))
    assert own and own.items() <= pins.items()
    assert len(re.findall(r"--hash=sha256:", locked)) >= len(own)
    if name != "harness":
        wanted = set((DOCKER / f"{name}.in").read_text(encoding="utf-8").splitlines()[1:])
        assert {re.sub(r"\[.*", "", each) for each in wanted} <= own.keys()


def test_uv_is_of_the_version_that_is_used_here() -> None:
    (ours,) = re.findall(r"^UV +:= uv==(\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {tag for path in IMAGES for tag in re.findall(r"astral-sh/uv:(\S+)", path.read_text(encoding="utf-8"))}
    assert named == {ours}


@pytest.mark.parametrize("service", ["web", "worker", "migrate"])
def test_what_runs_code_of_a_model_may_do_little(service: str) -> None:
    spec = COMPOSE["services"][service]
    assert spec["read_only"] and spec["cap_drop"] == ["ALL"] and spec["init"]
    assert spec["security_opt"] == ["no-new-privileges:true"] and spec["networks"] == ["shop"]
    assert COMPOSE["networks"]["shop"]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_ports_are_published_on_this_machine_alone() -> None:
    ports = [port for spec in COMPOSE["services"].values() for port in spec.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_stands_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    values = re.findall(r"(?:PASSWORD|TOKEN|KEY|STORE_URI)\w*: (\S+)", text)
    assert values and all(value.startswith("/run/secrets/") for value in values)
    assert all(secret["file"].startswith("${SECRETS:-./secrets}/") for secret in COMPOSE["secrets"].values())


def test_secrets_are_made_once_and_for_those_who_may_enter_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert run(DOCKER / "make-secrets", folder).returncode == 0
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert first.keys() == COMPOSE["secrets"].keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(set(first.values())) == len(first)
    (folder / "secret_key").unlink()
    assert run(DOCKER / "make-secrets", folder).returncode == 0
    second = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"secret_key"}


def with_secrets(**env: str) -> dict[str, str]:
    done = run("sh", DOCKER / "with-secrets", "env", env={"PATH": "/usr/bin:/bin", **env})
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_a_file_that_is_no_secret_is_left_alone() -> None:
    seen = with_secrets(SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt", TOKEN="given", TOKEN_FILE="/run/secrets/t")
    assert seen["SSL_CERT_FILE"] == "/etc/ssl/certs/ca-certificates.crt" and "SSL_CERT" not in seen
    assert seen["TOKEN"] == "given" and "TOKEN_FILE" not in seen


def test_a_secret_that_is_missing_stops_the_program() -> None:
    missing = "/run/secrets/of-nobody"
    done = run("sh", DOCKER / "with-secrets", "echo", "started", env={"PATH": "/usr/bin:/bin", "KEY_FILE": missing})
    assert done.returncode != 0 and missing in done.stderr and "started" not in done.stdout
