"""`~` in every path is the home folder, and every key that holds a path is known."""

from __future__ import annotations

import pwd
import re
from pathlib import Path
from typing import Any

import pytest

from launcher import config
from launcher.config.keys import all_keys
from launcher.config.paths import PATH_KEYS, find
from launcher.config.register import plain
from launcher.errors import ConfigError

OK = ("recipe=script", "script=train.py")
NOT_PATHS = {
    "recipe.name": "a name",
    "recipe.description": "a sentence",
    "args": "the program reads them",
    "cluster.slurm.extra": "sbatch reads them",
    "cluster.hosts": "names",
    "model.needs": "names",
    "model.include": "patterns inside the source",
    "model.strip": "a folder inside the source",
    "model.sha256": "a digest",
    "data.include": "patterns inside the source",
    "data.sha256": "a digest",
}


def test_every_key_whose_help_speaks_of_a_path_is_expanded() -> None:
    words = re.compile(r"\b(path|file|folder|program|interpreter|builds?)\b", re.IGNORECASE)
    speaking = {
        key.name
        for key in all_keys().values()
        if key.kind in (str, tuple[str, ...]) and words.search(key.help)
    }
    assert speaking - NOT_PATHS.keys() <= set(PATH_KEYS)
    assert set(PATH_KEYS) <= all_keys().keys()


def value_of(loaded: config.LaunchConfig, key: str) -> Any:
    value = plain(loaded)
    for name in key.split("."):
        value = value[name]
    return value


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def overrides_for(key: str) -> tuple[str, ...]:
    """Return overrides with which `key` may be set."""
    return {"data.source": ("data=uri",), "data.builder": ("data=uri", "data.source=/x")}.get(
        key, OK if key != "script" else ("recipe=script",)
    )


@pytest.mark.parametrize("key", PATH_KEYS)
def test_a_tilde_is_the_home_folder_in_every_path(key: str, tmp_path: Path, home: Path) -> None:
    words = (*overrides_for(key), f"{key}=~/a dir/x")
    loaded = config.load(words, cwd=tmp_path, require_recipe=False)
    assert value_of(loaded, key) == f"{home}/a dir/x"


@pytest.mark.parametrize("key", PATH_KEYS)
def test_the_home_folder_of_another_user_is_found(key: str, tmp_path: Path) -> None:
    words = (*overrides_for(key), f"{key}=~root/x")
    loaded = config.load(words, cwd=tmp_path, require_recipe=False)
    assert value_of(loaded, key) == f"{pwd.getpwnam('root').pw_dir}/x"


@pytest.mark.parametrize("key", PATH_KEYS)
def test_an_unknown_user_is_named(key: str, tmp_path: Path) -> None:
    words = (*overrides_for(key), f"{key}=~no-such-user/x")
    with pytest.raises(ConfigError, match="no user `no-such-user`") as caught:
        config.load(words, cwd=tmp_path, require_recipe=False)
    assert f"`{key}=~no-such-user/x`" in caught.value.message


@pytest.mark.parametrize("name", ["~/x", "a/~/x", "x~", "s3://b/~/x", "hf://~/x"])
def test_only_a_tilde_at_the_start_of_a_path_is_a_home(
    name: str, tmp_path: Path, home: Path
) -> None:
    loaded = config.load((*OK, "model=uri", f"model.source={name}"), cwd=tmp_path)
    expected = name if "://" in name else str(tmp_path / name.replace("~/x", f"{home}/x", 1))
    if name == "a/~/x":
        expected = str(tmp_path / name)
    assert loaded.model.source == expected


def test_a_build_program_may_be_below_the_home_folder(tmp_path: Path, home: Path) -> None:
    loaded = config.load((*OK, "model=uri", "model.source=build://~/make.py"), cwd=tmp_path)
    assert loaded.model.source == f"build://{home}/make.py"


def test_a_model_may_be_given_by_a_path_below_the_home_folder(tmp_path: Path, home: Path) -> None:
    for typed in ("~/m", "~root/m"):
        loaded = config.load((*OK, f"model={typed}"), cwd=tmp_path)
        expected = home if typed == "~/m" else Path(pwd.getpwnam("root").pw_dir)
        assert loaded.model.source == f"{expected}/m"


def test_values_that_are_no_paths_keep_their_tilde(tmp_path: Path) -> None:
    words = (*OK, "args=[~/x]", "env.PYTHONPATH=~/x", "params.file='~/x'")
    loaded = config.load(words, cwd=tmp_path)
    assert loaded.args == ("~/x",)
    assert (loaded.env["PYTHONPATH"], loaded.params["file"]) == ("~/x", "~/x")


def test_the_storage_root_of_the_environment_may_be_below_the_home_folder(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER_STORAGE_ROOT", "~/runs")
    assert config.load(OK, cwd=tmp_path).storage.root == f"{home}/runs"
    monkeypatch.setenv("LAUNCHER_STORAGE_ROOT", "~no-such-user/runs")
    with pytest.raises(ConfigError, match="no user `no-such-user`"):
        config.load(OK, cwd=tmp_path)


def test_a_config_folder_may_be_below_the_home_folder(home: Path, tmp_path: Path) -> None:
    (home / "conf").mkdir(parents=True)
    assert find([Path("~/conf")], cwd=tmp_path).user == (home / "conf",)
