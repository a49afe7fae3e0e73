"""What doctor says about extras is what pyproject.toml declares, and its commands work in any folder and shell."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import phosphene as ph
from phosphene.extras import install_command

ROOT = Path(__file__).parent.parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def packages(extra):
    """The packages of an extra; those of the extras that it names included."""
    found = set()
    for requirement in DECLARED[extra]:
        if requirement.startswith("phosphene["):
            for other in requirement.removeprefix("phosphene[").removesuffix("]").split(","):
                found |= packages(other)
        else:
            found.add(requirement.partition(">")[0])
    return found


def absent(package):
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return True
    return False


def test_doctor_lists_every_extra_with_its_state_and_command(call):
    extras = ph.doctor()["extras"]
    assert set(extras) == set(DECLARED)
    printed = call("doctor").out.splitlines()
    for extra, state in extras.items():
        missing = {one for one in packages(extra) if absent(one)}
        assert state.startswith("not installed" if missing else "installed"), extra
        assert all(one in state for one in missing)
        assert (install_command(extra) in state) == bool(missing)
        assert f"{f'extra {extra}':<18} {state}" in printed


@pytest.mark.parametrize("beside", [True, False])
def test_the_command_installs_into_this_python_from_any_folder(monkeypatch, tmp_path, beside):
    own = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin" if beside else "/usr/bin:/bin")
    command = install_command("serve")
    assert command.startswith("pip" if beside and (own / "pip").exists() else str(own))
    done = subprocess.run(
        ["sh", "-c", f"{command} --no-index --no-deps --dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "already satisfied: phosphene[serve]" in done.stdout, done.stderr  # and not another project of that name


@pytest.mark.parametrize("options", [{"workers": 2}, {"executor": "ray"}], ids=str)
def test_a_missing_ray_is_refused_before_anything_is_written(monkeypatch, tmp_path, options):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ph.errors.ExtraError, match=r"ray is .*pip install 'phosphene\[ray\]'"):
        ph.map_concepts("demo:shapes", "star", out=tmp_path / "run", progress=False, **options)
    assert not list(tmp_path.iterdir())
