"""The package as it is installed: pins, the wheel, and the scripts that set all up."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import explorer
from explorer.pyramid.sums.compiled import SOURCE, digest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    for row in rows:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+!]*", row), row
    return dict(row.split("==") for row in rows)


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    return [r for r in map(Requirement, texts) if r.name != "neuronaut"]


def test_every_dependency_is_pinned_within_its_range() -> None:
    pinned = pins()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_what_the_dependencies_need_is_pinned_too() -> None:
    pinned = pins()
    work = [r for r in requirements() if r.marker is None or r.marker.evaluate({"extra": ""})]
    seen: set[str] = set()
    while work:
        requirement = work.pop()
        name = canonicalize_name(requirement.name)
        key = str((name, sorted(requirement.extras)))
        if key in seen:
            continue
        seen.add(key)
        assert name in pinned, requirement
        try:
            inner = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        for text in inner:
            r = Requirement(text)
            extras = ("", *requirement.extras)
            if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras):
                work.append(r)
    assert len(seen) > 50


def test_one_version_number() -> None:
    assert explorer.__version__ == PROJECT["version"]


def test_an_installed_wheel_finds_its_scenes_and_carries_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    (metadata,) = installed.glob("*.dist-info")
    names = {p.name for p in installed.iterdir()}
    assert names == {"explorer", "layouts", metadata.name}
    packed = (installed / "explorer" / "pyramid" / "sums" / "_sums.so").read_bytes()
    assert digest(SOURCE.read_bytes()).encode() in packed
    assert wheel.name.split("-")[2:4] == ["py3", "none"]
    assert not wheel.name.endswith("-any.whl")
    assert "neuronaut = explorer.__main__:main" in (metadata / "entry_points.txt").read_text()
    code = (
        "from explorer.bundled import scene_path; from explorer.scene_file import load_scene;"
        "print(load_scene(scene_path())[0])"
    )
    env = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True,
        text=True,
    ).stdout.strip()  # fmt: skip
    assert found == str(installed / "explorer" / "_scenes" / "digits.keras")
    assert Path(found).read_bytes() == (ROOT / "scenes" / "digits.keras").read_bytes()
    for package in ("explorer", "layouts"):
        code_here = {p.relative_to(ROOT) for p in (ROOT / package).rglob("*.py")}
        code_there = {p.relative_to(installed) for p in (installed / package).rglob("*.py")}
        assert code_here == code_there


def test_without_a_compiler_the_wheel_is_for_every_system(tmp_path: Path) -> None:
    env = {**os.environ, "CC": "/no/such/compiler"}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, text=True, env=env,
    )  # fmt: skip
    assert "sums.c was not compiled: /no/such/compiler" in done.stderr + done.stdout
    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "explorer/pyramid/sums/sums.c" in names
    assert "explorer/pyramid/sums/_sums.so" not in names


# --- the scripts, with stand-ins for Python, pip, apt-get and sudo --------------------------------

REAL = ("sh", "dirname", "cat", "cksum", "mktemp", "rm", "mv", "tail", "grep", "env", "flock")

PYTHON = """#!/bin/sh
# Stands for python3 and for the python of the virtual environment; writes down what it is asked.
printf 'python %s\\n' "$*" >>"$CALLS"
case $1:$2 in
    -m:venv) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
    -m:pip)
        [ "$3" = --version ] && exit
        [ ! -e "$STATE/pip-fails" ] || { echo 'ERROR: no such package' >&2; exit 1; }
        printf '#!/bin/sh\\nprintf "neuronaut %%s\\\\n" "$*" >>"$CALLS"\\n' >"${0%/*}/neuronaut"
        chmod +x "${0%/*}/neuronaut"; exit ;;
    -m:*) exit ;;
    --version:*) echo Python 3.9.2; exit ;;
esac
case $2 in
    *version_info*) [ ! -e "$STATE/too-old" ] ;;
    *ctypes*) [ ! -e "$STATE/no-library" ] ;;
    *ensurepip*) [ ! -e "$STATE/no-venv" ] ;;
    *sys.version*) echo 3.11 ;;
    *EGL*) [ ! -e "$STATE/no-graphics" ] ;;
esac
"""
APT = """#!/bin/sh
printf 'apt-get %s as %s %s\\n' "$*" "$(id -u)" "${DEBIAN_FRONTEND:-}" >>"$CALLS"
case "$*" in
    *install*)
        [ ! -e "$STATE/old-lists" ] || exit 100
        rm -f "$STATE/no-library" "$STATE/no-venv" ;;
    *update*) rm -f "$STATE/old-lists" ;;
esac
"""
SUDO = """#!/bin/sh
[ -e "$STATE/may-sudo" ] || { echo 'sudo: a password is required' >&2; exit 1; }
printf 'sudo %s\\n' "$*" >>"$CALLS"
shift
exec "$@"
"""
ID = """#!/bin/sh
[ -e "$STATE/root" ] && echo 0 || echo 1000
"""


class Machine:
    """A checkout in a folder with a space, and a PATH on which nothing real installs anything."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.state, self.calls, bin_ = folder / "state", folder / "calls", folder / "bin"
        for made in (self.state, bin_, self.root):
            made.mkdir()
        passing = shutil.ignore_patterns("__pycache__")  # what other tests may be writing
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=passing)
        for name in ("pyproject.toml", "constraints.txt", "explorer/pyramid/sums/sums.c"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        for name in (*REAL, "mkdir", "cp", "chmod", "true"):
            (bin_ / name).symlink_to(shutil.which(name) or "/none")
        stubs = {"python3": PYTHON, "apt-get": APT, "sudo": SUDO, "id": ID}
        stubs |= dict.fromkeys(("cc", "chromium", "Xvfb", "xdotool"), "#!/bin/sh\n")
        for name, text in stubs.items():
            path = bin_ / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.bin = bin_
        self.env = {"PATH": str(bin_), "CALLS": str(self.calls), "STATE": str(self.state)}

    def set(self, *names: str) -> None:
        for name in names:
            (self.state / name).touch()

    def unset(self, *names: str) -> None:
        for name in names:
            (self.state / name).unlink()

    def run(self, script: str = "demo", *args: str, code: int = 0) -> tuple[list[str], str]:
        """What was called and what was said."""
        self.calls.write_text("")
        done = subprocess.run(
            ["/bin/sh", os.path.relpath(self.root / "scripts" / script, self.state), *args],
            cwd=self.state, env=self.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return self.calls.read_text().splitlines(), done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not any(Path("/usr/lib").glob("*/dri/swrast_dri.so")):
        pytest.skip("the software OpenGL driver is looked for where Debian 12 has it")
    return Machine(tmp_path)


def pip_calls(calls: list[str]) -> list[str]:
    return [c for c in calls if c.startswith("python -m pip install")]


def test_the_first_run_installs_and_the_second_starts_at_once(machine: Machine) -> None:
    calls, said = machine.run("demo", "--port", "0")
    (pip,) = pip_calls(calls)
    assert pip.endswith(f"-c {machine.root}/constraints.txt -e {machine.root}[film]")
    assert calls[-1] == "neuronaut demo --port 0"
    assert "making a virtual environment" in said
    calls, said = machine.run("demo", "--port", "0")
    assert pip_calls(calls) == []
    assert not any(c.startswith("python -m venv") or "vtkEGL" in c for c in calls)
    assert calls[-1] == "neuronaut demo --port 0"
    assert said == ""


def test_tests_share_the_environment_and_pass_their_options_on(machine: Machine) -> None:
    machine.run("demo")
    calls, said = machine.run("test", "-k", "one two")
    assert len(pip_calls(calls)) == 1
    assert "making" not in said
    assert calls[-1] == "python -m pytest -k one two"
    assert pip_calls(machine.run("test")[0]) == []
    assert pip_calls(machine.run("demo")[0]) == []


def test_an_install_that_failed_is_taken_up_again(machine: Machine) -> None:
    machine.set("pip-fails")
    calls, said = machine.run(code=2)
    assert "no such package" in said
    assert "setup.log" in said
    assert not any(c.startswith("neuronaut") for c in calls)
    machine.unset("pip-fails")
    calls, _ = machine.run()
    assert len(pip_calls(calls)) == 1
    assert calls[-1] == "neuronaut demo"


def test_a_changed_pin_is_installed(machine: Machine) -> None:
    machine.run()
    with (machine.root / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert len(pip_calls(machine.run()[0])) == 1


def test_a_changed_source_is_compiled_anew(machine: Machine) -> None:
    machine.run()
    with (machine.root / "explorer" / "pyramid" / "sums" / "sums.c").open("a") as file:
        file.write("/* changed */\n")
    calls, said = machine.run()
    assert len(pip_calls(calls)) == 1
    assert "making a virtual environment" not in said


def test_a_checkout_that_was_moved_is_set_up_anew(machine: Machine) -> None:
    machine.run()
    moved = machine.root.with_name("moved")
    machine.root.rename(moved)
    machine.root = moved
    calls, said = machine.run()
    assert "making a virtual environment" in said
    assert len(pip_calls(calls)) == 1


def test_without_rights_the_exact_command_is_named_and_nothing_is_done(machine: Machine) -> None:
    machine.set("no-library")
    calls, said = machine.run(code=2)
    assert "sudo apt-get install -y --no-install-recommends libegl1\n" in said
    assert not any(c.startswith("apt-get") for c in calls)
    assert pip_calls(calls) == []


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    machine.set("no-library", "root")
    (machine.bin / "apt-get").unlink()
    _, said = machine.run(code=2)
    assert "libegl1" in said


@pytest.mark.parametrize("right", ["root", "may-sudo"])
def test_with_rights_the_libraries_are_installed(machine: Machine, right: str) -> None:
    machine.set("no-library", right, "old-lists")
    calls, _ = machine.run()
    apt = [c for c in calls if c.startswith("apt-get")]
    assert len(apt) == 3  # lists too old, update, install
    assert "update" in apt[1]
    assert re.search(r"install libegl1 as \d+ noninteractive", apt[2])
    assert any(c.startswith("sudo") for c in calls) == (right == "may-sudo")
    assert calls[-1] == "neuronaut demo"


def test_a_browser_is_installed_for_the_tests_only(machine: Machine) -> None:
    (machine.bin / "chromium").unlink()
    machine.run("demo")
    _, said = machine.run("test", code=2)
    assert "apt-get install -y --no-install-recommends chromium\n" in said


def test_an_old_python_is_named(machine: Machine) -> None:
    machine.set("too-old")
    _, said = machine.run(code=2)
    assert "needs Python 3.11, 3.12 or 3.13; found Python 3.9.2" in said


def test_a_python_without_venv_gets_it_or_is_told_how(machine: Machine) -> None:
    machine.set("no-venv")
    _, said = machine.run(code=2)
    assert "sudo apt-get install -y --no-install-recommends python3-venv" in said
    machine.set("root")
    assert machine.run()[0][-1] == "neuronaut demo"


def test_graphics_that_do_not_work_are_found_before_the_page_crashes(machine: Machine) -> None:
    machine.set("no-graphics")
    _, said = machine.run(code=2)
    assert "OpenGL does not work" in said
