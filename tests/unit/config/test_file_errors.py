"""A user's config file that cannot be used: the error names the file, and shows what to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError

GLOBAL = "# @package _global_\n"
RECIPE = f"{GLOBAL}recipe: {{program: train.py}}\n"
INTERNAL = re.compile(
    r"\+\+|[Cc]ould not|Config[A-Z]\w+Error|full_key|object_type|reference_type|@hydra"
    r"|defaults list|OmegaConf|mismatched|extraneous|token recognition|no viable|search path"
    r"|provider=|composed|interpolation|structured|Exception|'(?:dict|list)'|NoneType|<class|_dummy_"
)
"""Words of Hydra and OmegaConf that say nothing to a user."""

FILES = {
    # what is in the file: (what the message says, what the hint offers)
    "recipe: {program: train.py}\n": ("unknown key `recipe.recipe`", "# @package _global_"),
    "# @package\nrecipe: {program: t.py}\n": ("needs a name", "# @package _global_"),
    f"{GLOBAL}defaults: [{{override /model: foo}}]\n": ("unknown model `foo`", "bert_tiny"),
    f"{GLOBAL}defaults: [{{/model: bert_tiny}}]\n": (
        "has the group `model` already",
        "- override /model: bert_tiny",
    ),
    f"{GLOBAL}defaults: [{{override model: bert_tiny}}]\n": (
        "has the group `model` already",
        "- override /model: bert_tiny",
    ),
    f"{GLOBAL}defaults: [{{/optimizer: adam}}]\n": (
        "unknown group `optimizer`",
        "group can be: backend",
    ),
    f"{GLOBAL}defaults: [{{override /optimizer: adam}}]\n": (
        "unknown group `optimizer`",
        "group can be: backend",
    ),
    f"{GLOBAL}defaults: [{{override /mine: a}}]\n": ("no file selects `mine`", "- /mine: a"),
    f"{GLOBAL}defaults: [{{override /hydra/launcher: x}}]\n": ("has no effect", "omit"),
    f"{GLOBAL}defaults: foo\n": ("`defaults`: expected a list, got `foo`", "override /model"),
    f"{GLOBAL}defaults: {{a: b}}\n": ("expected a list, got names", "override /model"),
    f"{GLOBAL}defaults: [3]\n": ("one `group: choice`, got `3`", "override /model"),
    f"{GLOBAL}defaults: [{{a: b, c: d}}]\n": ("one `group: choice`", "override /model"),
    f"{GLOBAL}defaults: [_self_, _self_]\n": ("names `_self_` twice", "keep one"),
    f"{GLOBAL}defaults: [other]\n": ("names the file itself", "remove"),
    f"{GLOBAL}defaults: [nothere]\n": ("unknown recipe `nothere`", "bert_finetune"),
    f"{GLOBAL}defaults: [{{override /model: '${{x}}'}}]\n": ("refers to `x`", "\\${"),
    f"{RECIPE}trian: {{lr: 1}}\n": ("unknown key `trian`", "`train.lr`"),
    f"{RECIPE}train: {{lrr: 1}}\n": ("unknown key `train.lrr`", "`train.lr`"),
    f"{RECIPE}train: {{lr: fast}}\n": ("`train.lr=fast`: expected a number", "train.lr="),
    f"{RECIPE}train: 3\n": ("`train`: expected names and values, got `3`", "train.lr"),
    f"{RECIPE}train:\n": ("`train`: expected names and values, got nothing", "remove the line"),
    f"{RECIPE}train: [1]\n": ("`train`: expected names and values, got a list", "train.lr"),
    f"{RECIPE}nodes: {{a: 1}}\n": ("`nodes`: expected a whole number, or auto", "nodes: VALUE"),
    f"{RECIPE}nodes: [1]\n": ("`nodes`: expected a whole number, or auto", "nodes: VALUE"),
    f"{RECIPE}args: --x\n": ("`args`: expected a list in brackets", "args: [--x]"),
    f"{RECIPE}args: {{a: 1}}\n": ("`args`: expected a list in brackets", "args: [a,b]"),
    f"{RECIPE}args: null\n": ("`args` has no value", ""),
    f"{RECIPE}env: [A=1]\n": ("`env`: expected names and values, got a list", "env: {a: 1}"),
    f"{RECIPE}env: {{A: null}}\n": ("`env.A`: expected text, got no value", ""),
    f"{RECIPE}params: [1]\n": ("`params`: expected names and values", "params: {a: 1}"),
    f"{RECIPE}params: {{1: 2}}\n": ("the name 1 is not text", "quotes"),
    f"{RECIPE}model: bert_tiny\n": ("`model`: expected names", "- override /model: bert_tiny"),
    f"{RECIPE}cluster: hostfile\n": ("`cluster`: expected names", "- override /cluster: hostfile"),
    f"{GLOBAL}recipe: foo\n": ("`recipe`: expected names and values", "recipe.program"),
    f"{GLOBAL}recipe: null\n": ("`recipe`: expected names and values", "recipe.program"),
    f"{GLOBAL}- a\n": ("the file: expected names and values, got a list", "key: value"),
    "hello\n": ("the file: expected names and values, got `hello`", "key: value"),
    f"{RECIPE}params: {{a: '${{nope}}'}}\n": ("`params.a` refers to `nope`", "\\${"),
    f"{RECIPE}params: {{a: '${{nope'}}\n": ("`params.a` contains `${`, but no complete", "\\${"),
    f"{RECIPE}params: {{a: '${{foo:1}}'}}\n": ("reference of an unknown kind", "oc.env"),
    f"{RECIPE}params: {{a: '${{oc.env:NO_SUCH}}'}}\n": ("variable NO_SUCH", "oc.env:NO_SUCH,"),
    f"{RECIPE}train:\n\tlr: 1\n": ("not valid YAML", "the line given above"),
    f"{RECIPE}train: {{lr: 1\n": ("not valid YAML", "the line given above"),
    f"{RECIPE}nodes: 1\nnodes: 2\n": ("not valid YAML", "the line given above"),
}


def answer(tmp_path: Path, content: bytes) -> ConfigError:
    for group in ("recipe", "mine"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / "mine" / "a.yaml").write_text("# @package params\nx: 1\n", "utf-8")
    (tmp_path / "conf" / "recipe" / "other.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(["recipe=other"], cwd=tmp_path)
    return caught.value


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_the_error_shows_what_to_write_in_the_file(tmp_path: Path, content: str) -> None:
    says, offers = FILES[content]
    error = answer(tmp_path, content.encode())
    assert says in error.message
    assert offers in error.hint
    assert "${" in content or "other.yaml" in error.context
    assert not INTERNAL.search(str(error)), str(error)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    error = answer(tmp_path, RECIPE.encode() + b"params: {a: \xe9}\n")
    assert "not UTF-8 text" in error.message
    assert "other.yaml" in error.context


def test_a_typed_value_is_blamed_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / "recipe" / "other.yaml").write_text(RECIPE, "utf-8")
    with pytest.raises(ConfigError, match=r"`train\.lr=fast`: expected a number"):
        config.load(["recipe=other", "train.lr=fast"], cwd=tmp_path)


def test_a_group_of_the_user_may_be_added_on_the_command_line(tmp_path: Path) -> None:
    for group in ("recipe", "mine"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / "mine" / "a.yaml").write_text("# @package params\nx: 1\n", "utf-8")
    (tmp_path / "conf" / "recipe" / "other.yaml").write_text(RECIPE, "utf-8")
    assert config.load(["recipe=other", "+mine=a"], cwd=tmp_path).params == {"x": 1}
    with pytest.raises(ConfigError, match="no file selects the group `mine`") as caught:
        config.load(["recipe=other", "mine=a"], cwd=tmp_path)
    assert "+mine=a" in caught.value.hint
