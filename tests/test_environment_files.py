"""pyproject.toml, environment.yml, the locks and the imports say the same."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from workspace_lib.doctor.machine import Pin, read_lock

RUN_EXTRAS = ("notebooks", "dashboards", "web", "demo", "dask")
TEN_NAMED = {
    "jupyterlab",
    "matplotlib",
    "numpy",
    "paho-mqtt",
    "pandas",
    "papermill",
    "pyserial",
    "scipy",
    "sqlalchemy",
    "voila",
}
# Used as programs, not imported: a text that starts each, and the files it may stand in.
STARTED = {
    "jupyterlab": ("-m jupyterlab", "Makefile"),
    "voila": ("voila", "workspace_lib/views/**/*.py"),
}
CONDA_TO_PYPI = {
    "jupyter_client": "jupyter-client",
    "jupyter_core": "jupyter-core",
    "jupyter_server": "jupyter-server",
    "matplotlib-base": "matplotlib",
    "prometheus_client": "prometheus-client",
    "python-tzdata": "tzdata",
}
# What conda splits off and pip takes as an extra: {conda name: (package, extra)}.
CONDA_EXTRAS = {"argon2-cffi": ("pwdlib", "argon2")}
# Half of a package that pins its other half to the version.
HALVES = {"pydantic-core"}
# conda's psycopg is compiled and needs no psycopg-binary.
NEEDLESS_EXTRAS = {("psycopg", "binary")}
SPEC = re.compile(r"(?P<name>[a-z0-9]+(?:[._-][a-z0-9]+)*)(?P<bound>>=\d+(?:\.\d+)*)")
LOCKS = ("requirements.lock", "requirements-test.lock")
PLATFORMS = {
    "linux-x86_64": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "linux-aarch64": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "aarch64"},
    "windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def declared(project: dict[str, Any]) -> dict[str, dict[str, Requirement]]:
    """Requirements by extra and canonical name; the base is the extra ``""``."""
    groups = {"": project["project"]["dependencies"]}
    groups |= project["project"]["optional-dependencies"]
    return {
        extra: {canonicalize_name(r.name): r for r in map(Requirement, texts)}
        for extra, texts in groups.items()
    }


@pytest.fixture(scope="module")
def run_requirements(declared: dict[str, dict[str, Requirement]]) -> dict[str, Requirement]:
    """What a workspace needs to run: the base and the extras that make run installs."""
    return {name: r for extra in ("", *RUN_EXTRAS) for name, r in declared[extra].items()}


@pytest.fixture(scope="module")
def conda(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "environment.yml").read_text())


@pytest.fixture(scope="module")
def locks(repository: Path) -> dict[str, dict[str, list[Pin]]]:
    return {name: read_lock(repository / name) for name in LOCKS}


def specs(conda: dict[str, Any]) -> list[str]:
    return [entry for entry in conda["dependencies"] if isinstance(entry, str)]


def bounds(conda: dict[str, Any]) -> dict[str, str]:
    """conda's names and bounds, without Python, pip and setuptools."""
    found = {}
    for spec in specs(conda)[1:]:
        match = SPEC.fullmatch(spec)
        assert match, spec
        if match["name"] not in ("pip", "setuptools"):
            found[match["name"]] = match["bound"]
    return found


def test_environment_has_only_the_known_keys_and_channels(conda: dict[str, Any]) -> None:
    assert list(conda) == ["name", "channels", "dependencies"]
    assert conda["channels"] == ["conda-forge", "nodefaults"]


def test_environment_ends_with_this_project_through_pip(conda: dict[str, Any]) -> None:
    assert conda["dependencies"][-1] == {"pip": ["-e ."]}
    assert all(isinstance(entry, str) for entry in conda["dependencies"][:-1])


def test_environment_fixes_the_minor_version_of_python(conda: dict[str, Any]) -> None:
    assert specs(conda)[0] == "python=3.11.*"
    assert any(spec.startswith("pip>=") for spec in specs(conda))


def test_every_spec_follows_the_strict_pattern(conda: dict[str, Any]) -> None:
    assert [spec for spec in specs(conda)[1:] if not SPEC.fullmatch(spec)] == []


@pytest.mark.parametrize(
    "spec",
    ["bad spec ===", "pandas>2.2<", "pandas >=2", "Pandas>=2", "pandas>=", "pandas", "pandas>=2.*"],
)
def test_the_pattern_refuses_what_conda_would_accept_or_misread(spec: str) -> None:
    assert SPEC.fullmatch(spec) is None


def test_no_package_is_named_twice(conda: dict[str, Any]) -> None:
    names = [re.split("[>=]", spec)[0] for spec in specs(conda)]
    assert len(names) == len(set(names))


def test_environment_names_what_pyproject_names(
    conda: dict[str, Any], run_requirements: dict[str, Requirement]
) -> None:
    names = {CONDA_TO_PYPI.get(name, name) for name in bounds(conda) if name not in CONDA_EXTRAS}
    assert names == set(run_requirements)


def test_extras_of_packages_are_packages_of_their_own_in_conda(
    conda: dict[str, Any], run_requirements: dict[str, Requirement]
) -> None:
    wanted = {(name, extra) for name, r in run_requirements.items() for extra in r.extras}
    given = {CONDA_EXTRAS[name] for name in bounds(conda) if name in CONDA_EXTRAS}
    assert wanted - NEEDLESS_EXTRAS == given


def test_bounds_are_the_same_in_environment_and_pyproject(
    conda: dict[str, Any], run_requirements: dict[str, Requirement]
) -> None:
    in_conda = {CONDA_TO_PYPI.get(name, name): text for name, text in bounds(conda).items()}
    different = {
        name: (in_conda[name], str(requirement.specifier))
        for name, requirement in run_requirements.items()
        if SpecifierSet(in_conda[name]) != requirement.specifier
    }
    assert different == {}


def test_build_packages_are_those_of_the_build_system(
    project: dict[str, Any], declared: dict[str, dict[str, Requirement]], conda: dict[str, Any]
) -> None:
    wanted = {r.name: r for r in map(Requirement, project["build-system"]["requires"])}
    assert {name: str(r.specifier) for name, r in declared["build"].items()} == {
        name: str(r.specifier) for name, r in wanted.items()
    }
    assert "setuptools" + str(wanted["setuptools"].specifier) in specs(conda)


def test_installed_versions_are_within_the_bounds(
    run_requirements: dict[str, Requirement],
) -> None:
    outside = {
        name: version(name)
        for name, requirement in run_requirements.items()
        if not requirement.specifier.contains(version(name), prereleases=True)
    }
    assert outside == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_only_exact_pins_with_hashes(repository: Path, lock: str) -> None:
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.+!]*( ; [^\\]+)? \\")
    hashed = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = [
        line for line in (repository / lock).read_text().splitlines() if not line.startswith("#")
    ]
    assert [line for line in lines if not (pin.fullmatch(line) or hashed.fullmatch(line))] == []
    follows = [after for before, after in pairwise(lines) if pin.match(before)]
    assert all(hashed.fullmatch(line) for line in follows)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_path(repository: Path, lock: str) -> None:
    text = (repository / lock).read_text()
    assert [
        word for word in ("://", "--index", "--find-links", "file:", " @ ") if word in text
    ] == []
    assert text.startswith("# This file was autogenerated by uv via the following command:\n")
    assert text.splitlines()[1] == "#    make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_the_same_for_every_patch_release_of_python(
    locks: dict[str, dict[str, list[Pin]]], lock: str
) -> None:
    markers = [pin.marker or "" for pins in locks[lock].values() for pin in pins]
    assert [text for text in markers if re.search(r"'3\.\d+\.\d+'", text)] == []


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_each_requirement_once_within_its_bounds(
    declared: dict[str, dict[str, Requirement]],
    locks: dict[str, dict[str, list[Pin]]],
    lock: str,
    platform: str,
) -> None:
    environment = {**default_environment(), **PLATFORMS[platform], "extra": ""}
    extras = ("", "build", *RUN_EXTRAS)
    if lock == "requirements-test.lock":
        extras = (*extras, "test", "bench")
    wrong = []
    for extra in extras:
        for name, requirement in declared[extra].items():
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            pins = [
                pin
                for pin in locks[lock].get(name, [])
                if not pin.marker or Marker(pin.marker).evaluate(environment)
            ]
            if len(pins) != 1 or not requirement.specifier.contains(
                pins[0].version, prereleases=True
            ):
                wrong.append((name, pins))
    assert wrong == []


def test_the_test_lock_holds_the_other_one_unchanged(
    locks: dict[str, dict[str, list[Pin]]],
) -> None:
    base, test = locks["requirements.lock"], locks["requirements-test.lock"]
    assert {name: pins for name, pins in base.items() if test.get(name) != pins} == {}


def third_party_imports(tree: ast.AST, *, module_level_only: bool = False) -> Iterator[str]:
    """Top names of what is imported, without Python's own library and this package."""
    for node in ast.walk(tree):
        if module_level_only and node not in getattr(tree, "body", []):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "workspace_lib":
                yield top


def code_of(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    lines = [
        line
        for cell in cells
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
        if not line.lstrip().startswith(("%", "!"))
    ]
    return "\n".join(lines)


def users_of_distributions(repository: Path, *places: str) -> dict[str, set[str]]:
    """Distributions that the files of some folders import, with the files that do."""
    distributions = packages_distributions()
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(file for place in places for file in repository.glob(place)):
        for module in third_party_imports(ast.parse(code_of(path), str(path))):
            for distribution in distributions.get(module, [module]):
                name = path.relative_to(repository).as_posix()
                found[canonicalize_name(distribution)].add(name)
    return found


@pytest.fixture(scope="module")
def used(repository: Path) -> dict[str, set[str]]:
    """What the library and the notebooks import, with the files that do."""
    return users_of_distributions(repository, "workspace_lib/**/*.py", "notebooks/**/*.ipynb")


def test_what_library_and_notebooks_import_is_declared(
    used: dict[str, set[str]], run_requirements: dict[str, Requirement]
) -> None:
    undeclared = {
        name: sorted(files) for name, files in used.items() if name not in run_requirements
    }
    assert undeclared == {}


def test_what_tests_and_benchmarks_import_is_declared(
    repository: Path, declared: dict[str, dict[str, Requirement]]
) -> None:
    names = {name for group in declared.values() for name in group} | HALVES
    places = ("tests/**/*.py", "benchmarks/**/*.py", "tools/**/*.py")
    users = users_of_distributions(repository, *places)
    # What tests share stands beside their folders, and belongs to no distribution.
    own = {path.stem for path in (repository / "tests").glob("*.py")}
    assert {name: sorted(files) for name, files in users.items() if name not in names | own} == {}


def test_the_lower_floors_need_only_the_base_to_be_imported(
    repository: Path, declared: dict[str, dict[str, Requirement]]
) -> None:
    distributions = packages_distributions()
    library = repository / "workspace_lib"
    beyond = []
    for path in [
        *library.glob("*.py"),
        *library.glob("store/**/*.py"),
        *library.glob("transports/**/*.py"),
    ]:
        tree = ast.parse(path.read_text(), str(path))
        for module in third_party_imports(tree, module_level_only=True):
            names = {canonicalize_name(name) for name in distributions.get(module, [module])}
            if not names & (set(declared[""]) | {"psycopg-binary"}):
                beyond.append((path.relative_to(repository).as_posix(), module))
    assert beyond == []


@pytest.mark.parametrize("name", sorted(TEN_NAMED))
def test_each_of_the_ten_named_packages_is_declared_and_used(
    repository: Path,
    used: dict[str, set[str]],
    run_requirements: dict[str, Requirement],
    conda: dict[str, Any],
    name: str,
) -> None:
    assert name in run_requirements
    assert name in {CONDA_TO_PYPI.get(entry, entry) for entry in bounds(conda)}
    if name in STARTED:
        text, where = STARTED[name]
        assert any(text in path.read_text() for path in repository.glob(where)), where
    else:
        assert used[name], f"{name} is declared but nothing imports it"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_conda_makes_the_environment(repository: Path, tmp_path: Path) -> None:
    program = next(filter(None, map(shutil.which, ("micromamba", "mamba", "conda"))), None)
    if program is None:
        pytest.skip("neither conda, mamba nor micromamba is installed")
    prefix = tmp_path / "environment"
    verb = ["create"] if "micromamba" in program else ["env", "create"]
    subprocess.run(
        [program, *verb, "--yes", "--prefix", prefix, "--file", repository / "environment.yml"],
        check=True,
        cwd=repository,
    )
    code = "import workspace_lib, papermill, voila, psycopg, serial, paho.mqtt.client"
    subprocess.run([prefix / "bin" / "python", "-c", code], check=True)
