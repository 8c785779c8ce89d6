"""Secrets leave the configuration when it is loaded; the environment has them from then on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from launcher.config import dump, load, load_saved
from launcher.config.compare import require_same_run
from launcher.errors import ConfigError
from launcher.specs.secrets import reveal

S = "aB3dE6gH9jK2mN5p"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment of this test alone."""
    own = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    monkeypatch.setattr(os, "environ", own)
    return iter([own])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("")
    return tmp_path


def loaded(project: Path, *texts: str, saved: Path | None = None):  # type: ignore[no-untyped-def]
    if saved:
        return load_saved(saved, texts, cwd=project)
    return load(["recipe=script", f"script={project}/a.py", *texts], cwd=project)


@pytest.mark.parametrize(
    ("text", "args", "variable"),
    [
        (f"args=[--hf_token={S}]", [f"--hf_token={S}"], "HF_TOKEN"),
        ("args=[--password,X,--lr,1e-4]", ["--password", "X", "--lr", "1e-4"], "PASSWORD"),
        (f"args=[+logger.token={S}]", [f"+logger.token={S}"], "LOGGER_TOKEN"),
        (f'args=["--u=https://me:{S}@h/x"]', [f"--u=https://me:{S}@h/x"], "PASSWORD"),
        ("args=[hf_abcdefghijklmnopqrst]", ["hf_abcdefghijklmnopqrst"], "HUGGING_FACE_TOKEN"),
    ],
)
def test_a_secret_argument_is_replaced_by_a_reference(
    project: Path, text: str, args: list[str], variable: str
) -> None:
    config = loaded(project, text)
    secret = os.environ[f"LAUNCHER_SECRET_{variable}"]
    assert f"***LAUNCHER_SECRET_{variable}***" in dump(config)
    assert secret not in yaml.safe_load(dump(config))["args"]
    assert S not in dump(config)
    assert reveal(list(config.args), os.environ) == args


def test_a_secret_parameter_is_replaced_too(project: Path) -> None:
    config = loaded(project, f"params.db.api_key={S}", "params.max_tokens=3")
    assert config.params == {"db": {"api_key": "***LAUNCHER_SECRET_API_KEY***"}, "max_tokens": 3}
    assert reveal(config.params, os.environ) == {"db": {"api_key": S}, "max_tokens": 3}


def test_an_exported_variable_with_the_same_value_is_used(project: Path) -> None:
    os.environ.update(HF_TOKEN=S, SLURM_TOKEN=S)
    assert loaded(project, f"args=[--token={S}]").args == ("--token=***HF_TOKEN***",)
    assert not [name for name in os.environ if name.startswith("LAUNCHER_SECRET_")]


def test_different_secrets_of_one_name_get_different_variables(project: Path) -> None:
    config = loaded(project, "args=[--password,X,--password,Y,--password,X]")
    assert config.args[1] == config.args[5] != config.args[3]
    assert reveal(list(config.args), os.environ)[1::2] == ["X", "Y", "X"]


@pytest.mark.parametrize(
    "text",
    [
        "args=[--tokenizer,bert,--max_tokens,512,--pad_token,PAD,--token-file,/x/y]",
        "args=[--password,--next]",
        "args=[a***b,***Note***]",
        "params.tokens=[1,2]",
    ],
)
def test_what_is_no_secret_stays_as_typed(project: Path, text: str) -> None:
    before = dict(os.environ)
    assert "LAUNCHER_SECRET_" not in dump(loaded(project, text))
    assert os.environ == before


def save(project: Path, *texts: str) -> Path:
    file = project / "config.yaml"
    file.write_text(dump(loaded(project, *texts)))
    return file


def test_a_saved_run_takes_its_secrets_from_the_environment(project: Path) -> None:
    file = save(project, "args=[--password,X,--lr,1]")
    assert loaded(project, saved=file).args == (
        *("--password", "***LAUNCHER_SECRET_PASSWORD***", "--lr", "1"),
    )


def test_without_them_it_is_refused_by_name(project: Path) -> None:
    file = save(project, "args=[--password,X]")
    del os.environ["LAUNCHER_SECRET_PASSWORD"]
    with pytest.raises(ConfigError, match="LAUNCHER_SECRET_PASSWORD") as caught:
        loaded(project, saved=file)
    assert "args: ***LAUNCHER_SECRET_PASSWORD***" in caught.value.context
    assert "export LAUNCHER_SECRET_PASSWORD" in caught.value.hint
    assert "args=" in caught.value.hint


@pytest.mark.parametrize("value", [None, ""])
def test_each_missing_secret_has_its_own_command_to_type_it(
    project: Path, value: str | None
) -> None:
    file = save(project, "args=[--password,X]", "params.hosts=[{api_key: Y}]")
    for name in ("LAUNCHER_SECRET_PASSWORD", "LAUNCHER_SECRET_API_KEY"):
        del os.environ[name]
        if value is not None:
            os.environ[name] = value
    with pytest.raises(ConfigError, match="API_KEY, LAUNCHER_SECRET_PASSWORD") as caught:
        loaded(project, saved=file)
    assert (
        "`read -rs LAUNCHER_SECRET_API_KEY; export LAUNCHER_SECRET_API_KEY; "
        "read -rs LAUNCHER_SECRET_PASSWORD; export LAUNCHER_SECRET_PASSWORD`" in caught.value.hint
    )
    assert "params.hosts: ***LAUNCHER_SECRET_API_KEY***" in caught.value.context


@pytest.mark.parametrize("exported", [False, True])
def test_a_renewed_secret_does_not_change_the_run(project: Path, exported: bool) -> None:
    file = save(project, "args=[--password,X,--lr,1]")
    os.environ.pop("LAUNCHER_SECRET_PASSWORD")
    if exported:
        os.environ["DB_PASSWORD"] = "Y2"
    config = loaded(project, "args=[--password,Y2,--lr,1]", saved=file)
    assert require_same_run(file, config) == ()
    assert reveal(list(config.args), os.environ)[1] == "Y2"


def test_a_run_that_an_older_launcher_saved_in_plain_text_resumes(project: Path) -> None:
    file = save(project, "args=[--password,X]")
    file.write_text(file.read_text().replace("***LAUNCHER_SECRET_PASSWORD***", "X"))
    config = loaded(project, saved=file)
    assert "X" not in config.args
    assert require_same_run(file, config) == ()


@pytest.mark.parametrize("text", ["args=[--password,***]", "args=[https://me:***@host]"])
def test_a_mask_is_not_taken_for_a_secret(project: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is not a secret") as caught:
        loaded(project, text)
    assert "type the secret itself" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("env.MY_SETTING=hf_abcdefghijklmnopqrst", "export MY_SETTING_TOKEN"),
        (f"data.options.api_key={S}", "export it"),
        ("cluster.slurm.extra=[--comment=hf_abcdefghijklmnopqrst]", "export it"),
        ("run_id=hf_abcdefghijklmnopqrst", "export it"),
        ("model=https://me:pw@host/x", "credentials in the environment"),
        ("model=https://host/x?token=***HF_TOKEN***", "credentials in the environment"),
    ],
)
def test_a_secret_elsewhere_is_refused(project: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="contains a secret") as caught:
        loaded(project, text)
    assert hint in caught.value.hint


def test_a_file_is_not_to_be_exported(project: Path) -> None:
    (project / "token=abc123456.py").write_text("")
    load(["recipe=script", f"script={project}/token=abc123456.py"], cwd=project)
    with pytest.raises(ConfigError, match="contains a secret") as caught:
        load(["recipe=script", "script=password=a1b2c3.py"], cwd=project)
    assert "rename the file" in caught.value.hint
    assert "export" not in caught.value.hint


def test_a_password_that_yaml_reads_as_a_number_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="is a number"):
        loaded(project, "params.db.password=12345")
    with pytest.raises(ConfigError, match="is a number"):
        loaded(project, "params.passwords=[12345]")
    quoted = loaded(project, 'params.db.password="12345"')
    assert reveal(quoted.params, os.environ) == {"db": {"password": "12345"}}
