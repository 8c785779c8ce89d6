"""Finds what is wrong in a user's config file, after Hydra could not use it.

Hydra's own messages name neither the line to change nor the words to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher.config.keys import (
    GROUPS,
    all_keys,
    free_prefix,
    is_list_of_texts,
    is_named_texts,
    sections,
)
from launcher.config.overrides import Groups, refuse_unknown_choice, unknown_key
from launcher.errors import ConfigError, UnknownNameError

_GLOBAL = "# @package _global_"
_EXAMPLE = "`- override /model: bert_tiny`"


def find(file: Path, folder: Path, groups: Groups) -> ConfigError | None:
    """Return what is wrong in `file`, which is in the config folder `folder`; None if nothing is.

    A value of the wrong type is not found here: Hydra's error names its key.
    """
    try:
        _check(file, file.relative_to(folder), groups)
    except ConfigError as error:
        return ConfigError(error.message, context=error.context or f"in {file}", hint=error.hint)
    return None


def _check(file: Path, name: Path, groups: Groups) -> None:
    text = _text(file)
    if re.search(r"^#\s*@package\s*$", text, re.MULTILINE):
        raise ConfigError("`# @package` needs a name", hint=f"write `{_GLOBAL}`")
    try:
        content = _content(text, file)
    except yaml.YAMLError as error:
        raise not_yaml(error) from error
    if content is None:
        return
    if not isinstance(content, dict):
        raise _wrong("the file", "names and values", content, "write `key: value`")
    group = "" if name.parent == Path() else name.parent.as_posix()
    _check_defaults(content.pop("defaults", []), group, name.stem, groups)
    package = re.search(r"^#\s*@package\s+(\S+)\s*$", text, re.MULTILINE)
    prefix = group.replace("/", ".") if package is None else package.group(1)
    _check_names(content, "" if prefix in ("_global_", "") else f"{prefix}.", groups)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the file is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}",
            hint="save it as UTF-8",
        ) from None
    except OSError as error:
        reason = str(error.strerror).lower()
        raise ConfigError(f"cannot read the file: {reason}", hint="check its path") from None


def _content(text: str, file: Path) -> Any:
    loader = yaml.SafeLoader(text)
    loader.name = str(file)  # for its messages
    return loader.get_single_data()


def not_yaml(error: yaml.YAMLError) -> ConfigError:
    """Return the error for a file that YAML cannot read; YAML's message names file and line."""
    return ConfigError(
        "a config file is not valid YAML", context=str(error), hint="fix the line given above"
    )


# The list `defaults`.
def _check_defaults(items: Any, group: str, name: str, groups: Groups) -> None:
    if not isinstance(items, list):
        raise _wrong("`defaults`", "a list", items, f"for example {_EXAMPLE}")
    if items.count("_self_") > 1:
        raise ConfigError("`defaults` names `_self_` twice", hint="keep one of them")
    for item in items:
        if isinstance(item, str):
            _check_file(item, group, name, groups)
        elif isinstance(item, dict) and len(item) == 1:
            ((key, choice),) = item.items()
            _check_choice(str(key), choice, groups)
        else:
            raise _wrong("an item of `defaults`", "one `group: choice`", item, f"write {_EXAMPLE}")


def _check_file(item: str, group: str, name: str, groups: Groups) -> None:
    if item == name:
        raise ConfigError(f"`defaults` names the file itself, `{item}`", hint="remove this item")
    if item != "_self_" and group in groups and "/" not in item and "@" not in item:
        refuse_unknown_choice(group, item, groups)


def _check_choice(key: str, choice: Any, groups: Groups) -> None:
    words = key.split()
    path, overrides, optional = words[-1], "override" in words, "optional" in words
    group = path.lstrip("/").partition("@")[0]
    item = f"`{key}: {choice}` in `defaults`"
    if group in GROUPS and "@" not in path and not (overrides and path.startswith("/")):
        hint = f"write `- override /{group}: {choice}`"
        raise ConfigError(f"{item}: every configuration has the group `{group}` already", hint=hint)
    if not path.startswith("/"):
        return  # a group below that of the file
    if group.startswith("hydra/"):
        raise ConfigError(
            f"{item} has no effect: only groups of this launcher have", hint="omit it"
        )
    if group not in groups and not optional:
        raise UnknownNameError("group", group, groups)
    if overrides and group not in GROUPS:
        hint = f"write `- /{path.lstrip('/')}: {choice}`"
        raise ConfigError(f"{item}: no file selects `{group}` before", hint=hint)
    if isinstance(choice, str) and "${" not in choice and not optional:
        refuse_unknown_choice(group, choice, groups)


# Names and values.
def _check_names(content: Mapping[Any, Any], prefix: str, groups: Groups) -> None:
    for name, value in content.items():
        _check_value(f"{prefix}{name}", value, groups)


def _check_value(key: str, value: Any, groups: Groups) -> None:
    known = all_keys().get(key)
    if known is None and not _is_section(key):
        if free_prefix(key):
            return
        raise _unknown(key, groups)
    if known is None or known.is_free:
        if not isinstance(value, dict):
            raise _not_mapping(key, value, groups)
        if known is None:
            _check_names(value, f"{key}.", groups)
        else:
            _check_free(key, value)
    elif is_list_of_texts(key):
        _check_list(key, value)
    elif isinstance(value, dict | list):
        raise _wrong(f"`{key}`", known.expects, value, f"write `{key.rpartition('.')[2]}: VALUE`")


def _is_section(key: str) -> bool:
    return key in sections() or any(name.startswith(f"{key}.") for name in all_keys())


def _unknown(key: str, groups: Groups) -> ConfigError:
    if key.startswith("recipe."):
        hint = f"start a recipe's file with `{_GLOBAL}`, so that it can set any key"
        return ConfigError(f"unknown key `{key}`", hint=hint)
    return unknown_key(key, groups)


def _not_mapping(key: str, value: Any, groups: Groups) -> ConfigError:
    inside = [name for name in all_keys() if name.startswith(f"{key}.")]
    hint = (
        f"indent its keys below it: {', '.join(inside)}" if inside else f"write `{key}: {{a: 1}}`"
    )
    if key in GROUPS and str(value) in groups.get(key, ()):
        hint = f"to select a choice, write `- override /{key}: {value}` in `defaults`"
    if value is None:
        hint = f"remove the line, or {hint}"
    return _wrong(f"`{key}`", "names and values", value, hint)


def _check_free(key: str, value: Mapping[Any, Any]) -> None:
    for name, item in value.items():
        if not isinstance(name, str):
            raise ConfigError(f"`{key}`: the name {name!r} is not text", hint="put it in quotes")
        if is_named_texts(key) and (item is None or isinstance(item, dict | list)):
            hint = "write '' for no text" if item is None else "put the value in quotes"
            raise _wrong(f"`{key}.{name}`", "text", item, hint)


def _check_list(key: str, value: Any) -> None:
    if not isinstance(value, list):
        example = "[a,b]" if value is None or isinstance(value, dict) else f"[{value}]"
        raise _wrong(f"`{key}`", "a list in brackets", value, f"write `{key}: {example}`")
    for item in value:
        if item is None or isinstance(item, dict | list):
            raise _wrong(f"`{key}`", "text in each item", item, "put the item in quotes")


def _wrong(what: str, expected: str, value: Any, hint: str) -> ConfigError:
    return ConfigError(f"{what}: expected {expected}, got {_kind(value)}", hint=hint)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    kinds: Sequence[tuple[type, str]] = ((list, "a list"), (dict, "names and values"))
    return next((words for kind, words in kinds if isinstance(value, kind)), f"`{value}`")
