"""The build hook of hatchling: it generates the stubs before each wheel and adds them to standard wheels."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Without the stubs of the tests' protos.
PACKAGES = ("parley", "buf")


class StubsHook(BuildHookInterface[Any]):
    """The hook that runs `tools.stubs`. An editable install finds the stubs through `dev-mode-dirs` instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the stubs and, for a standard wheel, map them to its top level."""
        subprocess.run([sys.executable, "-m", "tools.stubs"], cwd=self.root, check=True)
        if version == "standard":
            stubs = Path(self.root, "build", "stubs")
            build_data["force_include"].update({str(stubs / name): name for name in PACKAGES})
