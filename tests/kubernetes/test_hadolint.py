"""hadolint finds nothing in the Dockerfile."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

from tests.kubernetes.manifests import ROOT

HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HADOLINT), "--no-color", str(file)], capture_output=True, text=True, check=False)


def test_dockerfile_is_clean() -> None:
    done = hadolint(ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_mistake_is_found(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:latest\nCMD python -m chat_service\n")
    assert "DL3007" in hadolint(file).stdout
