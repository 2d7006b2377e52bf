"""The audit of the dependencies, as part of `make lint`: `python -m tools.dependency_audit`. It needs no network.

It checks that every requirement is bounded on both sides, that what is installed meets the requirements of the product
and all requirements of its dependencies, and that no licence of them binds a product that ships them. Known
vulnerabilities are looked up by `make audit`, because the services that know them are not reachable from everywhere.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

PROJECT: Final = Path(__file__).parent.parent / "pyproject.toml"
# Packages whose versions are dates, so that no upper bound says anything.
DATED: Final = {"tzdata"}
# Licences that bind the product which ships the package; the lesser and library ones do not.
BINDING: Final = re.compile(
    r"\bA?GPL|(?<!Lesser )(?<!Library )General Public License|SSPL|Commons Clause", re.IGNORECASE
)


def main() -> int:
    """Print what is wrong, and return the exit code."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    required = list(all_requirements(project["project"]["dependencies"]))
    installed = {each.name: each for _, each in required if each is not None}
    wrong = [*unbounded(project), *unmet(required), *binding(installed.values())]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(installed)} dependencies of the product, {len(wrong)} findings")
    return 1 if wrong else 0


def unbounded(project: dict[str, Any]) -> Iterator[str]:
    """Yield the requirements of a project that every later release would meet."""
    groups = [project["build-system"]["requires"], project["project"]["dependencies"]]
    groups += project["project"].get("optional-dependencies", {}).values()
    for requirement in (Requirement(text) for group in groups for text in group):
        operators = {each.operator for each in requirement.specifier}
        if not operators & {"==", "~="} and not operators >= {">=", "<"} and requirement.name not in DATED:
            yield f"{requirement} is not bounded on both sides, as >=1.2,<2 is"


def all_requirements(texts: Iterable[str]) -> Iterator[tuple[Requirement, Distribution | None]]:
    """Yield requirements and all of their own, as far as they apply here, each with what is installed; None: nothing.

    A requirement that several packages have is yielded once for each of its forms.
    """
    waiting, seen = [(Requirement(text), {""}) for text in texts], set[str]()
    while waiting:
        requirement, extras = waiting.pop()
        applies = requirement.marker is None or any(requirement.marker.evaluate({"extra": each}) for each in extras)
        if not applies or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        found = find_distribution(requirement.name)
        yield requirement, found
        own = found.requires if found is not None else None
        waiting += [(Requirement(text), requirement.extras or {""}) for text in own or ()]


def find_distribution(name: str) -> Distribution | None:
    """Return an installed distribution, or None."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def unmet(required: Iterable[tuple[Requirement, Distribution | None]]) -> Iterator[str]:
    """Yield the requirements that what is installed does not meet."""
    for requirement, found in required:
        if found is None:
            yield f"{requirement} is not installed"
        elif not requirement.specifier.contains(found.version, prereleases=True):
            yield f"{requirement} is not met by the installed {found.version}"


def binding(distributions: Iterable[Distribution]) -> Iterator[str]:
    """Yield the distributions whose licence binds the product."""
    for each in distributions:
        said = licences(each)
        # Of several licences the user may choose one.
        if not said or all(BINDING.search(licence) for licence in said):
            yield f"{each.name} {each.version} has the licence {' / '.join(said) or 'unknown'}"


def licences(distribution: Distribution) -> list[str]:
    """Return the licences that a distribution names, by its metadata."""
    data = distribution.metadata
    if "License-Expression" in data:
        return data["License-Expression"].split(" OR ")
    classified = [text for text in data.get_all("Classifier") or () if text.startswith("License ::")]
    # Some packages have the whole text there.
    named = data["License"].partition("\n")[:1] if "License" in data else ()
    return classified or [text for text in named if text]


if __name__ == "__main__":
    sys.exit(main())
