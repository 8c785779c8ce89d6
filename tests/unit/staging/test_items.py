"""From the settings to the items to stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.staging import DataConfig, ModelConfig, items

BASE = Path("/where/they stand")
DIGEST = "AB" * 32


def test_nothing_asked_for_is_nothing_to_stage() -> None:
    assert items(ModelConfig(), DataConfig()) == ()


def test_a_model_carries_everything_the_config_says() -> None:
    model = ModelConfig(
        source="pypi://a==1", include=("m/*",), strip="m", sha256=DIGEST, options={"x": 3}
    )
    (item,) = items(model, DataConfig(), base=BASE)
    assert (item.name, item.uri, item.include, item.strip) == (
        "model",
        "pypi://a==1",
        ("m/*",),
        "m",
    )
    assert item.sha256 == DIGEST.lower()
    assert item.options == {"x": "3"}


def test_a_model_built_from_the_data_comes_after_it() -> None:
    model = ModelConfig(source="build:///p.py", needs=("data",))
    staged = items(model, DataConfig(source="build:///d.py"), base=BASE)
    assert [item.name for item in staged] == ["data", "model"]
    assert staged[1].needs == ("data",)


def test_files_of_the_user_go_through_the_builder() -> None:
    data = DataConfig(
        train="train.jsonl",
        test="s3://b/test.jsonl",
        builder="b.py",
        text="t",
        label="l",
        options={"lower": True},
    )
    train, test, built = items(ModelConfig(), data, base=BASE)
    assert (train.name, train.uri) == ("data_train", "/where/they stand/train.jsonl")
    assert (test.name, test.uri) == ("data_test", "s3://b/test.jsonl")
    assert (built.name, built.uri) == ("data", "build:///where/they stand/b.py")
    assert built.needs == ("data_train", "data_test")
    assert built.options == {"text": "t", "label": "l", "lower": "true"}


def test_a_source_with_a_builder_is_staged_under_a_name_of_its_own() -> None:
    data = DataConfig(source="hf://datasets/o/n", revision="v1", builder="build:///b.py")
    source, built = items(ModelConfig(), data, base=BASE)
    assert (source.name, source.uri, source.revision) == ("data_source", "hf://datasets/o/n", "v1")
    assert (built.uri, built.needs) == ("build:///b.py", ("data_source",))


def test_a_source_without_a_builder_is_the_data() -> None:
    (item,) = items(ModelConfig(), DataConfig(source="data", options={"n": 2}), base=BASE)
    assert (item.name, item.uri, item.options) == ("data", "/where/they stand/data", {"n": "2"})


def test_a_path_from_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (item,) = items(ModelConfig(source="~/model"), DataConfig(), base=BASE)
    assert item.uri == "/home/me/model"


def test_relative_paths_start_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (item,) = items(ModelConfig(source="build://p.py"), DataConfig())
    assert item.uri == f"build://{tmp_path}/p.py"


def test_two_ways_to_name_the_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be combined"):
        DataConfig(source="x", train="y")


@pytest.mark.parametrize("digest", ["abc", "x" * 64])
def test_what_is_no_sha256_is_refused(digest: str) -> None:
    with pytest.raises(ConfigError, match="64 hex digits"):
        ModelConfig(sha256=digest)
