"""The install hook: makes the stubs before any wheel, and puts them into the ones that are not editable."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface[Any]):
    """Runs `tools.stubs`; an editable install finds its output through `dev-mode-dirs` instead of a copy."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Makes the stubs and, for a standard wheel, maps them to its top level."""
        subprocess.run([sys.executable, "-m", "tools.stubs"], cwd=self.root, check=True)
        if version == "standard":
            stubs = Path(self.root, "build", "stubs")
            build_data["force_include"].update({str(path): path.name for path in stubs.iterdir()})
