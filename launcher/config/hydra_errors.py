"""Turns the exceptions of Hydra, OmegaConf and YAML into our errors. The only table for this."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    ConfigTypeError,
    GrammarParseError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedValueType,
    ValidationError,
)

from launcher.config.keys import Key, all_keys
from launcher.config.overrides import Groups, refuse_unknown_choice, unknown_key
from launcher.errors import ConfigError, nearest

FOREIGN = (HydraException, OmegaConfBaseException, yaml.YAMLError)
"""What `compose` may raise because of the user's input."""

_MISSING = "???"
_MEANT: Mapping[str, str] = MappingProxyType(
    {
        "gpu": "cuda", "gpus": "cuda", "nvidia": "cuda", "cuda:0": "cuda",
        "float32": "fp32", "32": "fp32", "full": "fp32",
        "fp16": "bf16", "float16": "bf16", "half": "bf16", "bfloat16": "bf16", "16": "bf16",
        "none": "same_ranks", "bitwise": "logical_shards", "strict": "logical_shards",
        "yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false",
    }
)  # fmt: skip
"""Words of other tools -> ours."""


def explain(error: Exception, texts: Sequence[str], groups: Groups) -> ConfigError:
    """Return the error to show for `error`, raised while composing from the overrides `texts`."""
    cause = _innermost(error)
    for kind, convert in _TABLE:
        if isinstance(cause, kind):
            return convert(cause, _Context(error, texts, groups))
    return _in_own_words(cause, _Context(error, texts, groups))


class _Context:
    """What else is known about an error."""

    def __init__(self, error: Exception, texts: Sequence[str], groups: Groups) -> None:
        self.texts = texts
        self.groups = groups
        self.where = _where(error)

    def typed(self, key: str) -> str:
        """Return the value typed for `key`, empty if a file set it."""
        for text in reversed(self.texts):
            name, _, value = text.lstrip("+").partition("=")
            if name == key:
                return value
        return ""


def _innermost(error: Exception) -> Exception:
    """Return OmegaConf's exception, which has the key; Hydra wraps it, sometimes without `from`."""
    chain = list(_chain(error))
    return next((each for each in chain if getattr(each, "full_key", None)), chain[0])


def _where(error: Exception) -> str:
    """Return which file the error is about, read from Hydra's message."""
    for each in _chain(error):
        match = re.search(r"In '([^']+)'", str(each))
        if match and match.group(1) not in ("config", "saved_run"):
            return f"in conf/{match.group(1)}.yaml"
    return ""


def _chain(error: Exception) -> Iterator[Exception]:
    link: BaseException | None = error
    while isinstance(link, FOREIGN):
        yield link
        link = link.__cause__ or link.__context__


def _unknown_key(error: Exception, context: _Context) -> ConfigError:
    name = str(getattr(error, "full_key", "") or "")
    if name.startswith("recipe.") and context.where:
        return ConfigError(
            f"unknown key `{name}`",
            context=context.where,
            hint="start a recipe's file with `# @package _global_`, so that it can set any key",
        )
    return unknown_key(name, context.groups, context=context.where)


def _bad_value(error: Exception, context: _Context) -> ConfigError:
    name = str(getattr(error, "full_key", "") or "")
    name = _without_index(name)
    key = all_keys().get(name)
    value = context.typed(name) or _value_in(error)
    if key is None:
        return _in_own_words(error, context)
    return ConfigError(
        f"`{name}={value}`: expected {key.expects}",
        context=context.where,
        hint=_value_hint(key, value),
    )


def _value_in(error: Exception) -> str:
    match = re.search(r"[Vv]alue '([^']*)'", str(error)) or re.search(r"'([^']*)'", str(error))
    return match.group(1) if match else ""


def _value_hint(key: Key, value: str) -> str:
    word = value.strip("'\"").lower()
    meant = _MEANT.get(word)
    near = meant if meant in key.choices else nearest(word, key.choices)
    if near:
        return f"did you mean `{key.name}={near}`?"
    if key.choices:
        return f"for example `{key.name}={key.choices[0]}`"
    return f"for example `{key.name}={_example(key)}`"


def _example(key: Key) -> str:
    if isinstance(key.default, tuple | list):
        return "[a,b]"
    return str(key.default).lower() if key.default not in ("", None) else "NAME"


def _missing_choice(error: Exception, context: _Context) -> ConfigError:
    group, _, choice = str(getattr(error, "missing_cfg_file", "") or "").rpartition("/")
    if group in context.groups:
        where = context.where or f"a config file says `{group}: {choice}`"
        try:
            refuse_unknown_choice(group, choice, context.groups, context=where)
        except ConfigError as unknown:
            return unknown
    return _in_own_words(error, context)


def _missing_value(error: Exception, context: _Context) -> ConfigError:
    name = str(getattr(error, "full_key", "") or "a value")
    if _MISSING in context.typed(_without_index(name)):
        return ConfigError(
            f"`{name}`: `{_MISSING}` marks a missing value and cannot be text",
            hint="use another text",
        )
    return ConfigError(
        f"`{name}` is required", context=context.where, hint=f"add `{name}=...` to the command"
    )


def _interpolation(error: Exception, context: _Context) -> ConfigError:
    name = str(getattr(error, "full_key", "") or "a value")
    key = _without_index(name)
    literal = re.sub(r"(?<!\\)\$\{", r"\\${", context.typed(key))
    word = shlex.quote(f"{key}={literal}") if literal else r"`\${...}`"
    problem = "refers to something that does not exist"
    if isinstance(error, GrammarParseError):
        problem = "contains `${`, but no complete reference"
    return ConfigError(
        f"`{name}` {problem}: {str(error).splitlines()[0]}",
        context=context.where,
        hint=f"write {word} if this is not a reference",
    )


def _without_index(name: str) -> str:
    return re.sub(r"\[.*$", "", name)


def _yaml(error: Exception, context: _Context) -> ConfigError:
    return ConfigError(
        "a config file is not valid YAML",
        context=str(error),
        hint="fix the line given above",
    )


def _in_own_words(error: Exception, context: _Context) -> ConfigError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *rest = lines or [type(error).__name__]
    return ConfigError(
        first[0].lower() + first[1:],
        context="\n".join(filter(None, [context.where, *rest])),
        hint="`launcher --help` shows examples of overrides",
    )


_TABLE: tuple[
    tuple[type[Exception] | tuple[type[Exception], ...], Callable[..., ConfigError]], ...
] = (
    (MissingConfigException, _missing_choice),
    (InterpolationKeyError, _interpolation),
    (GrammarParseError, _interpolation),
    (InterpolationResolutionError, _interpolation),
    (MissingMandatoryValue, _missing_value),
    ((ConfigKeyError, ConfigAttributeError), _unknown_key),
    ((ValidationError, UnsupportedValueType, ConfigTypeError), _bad_value),
    (yaml.YAMLError, _yaml),
    ((OverrideParseException, ConfigCompositionException), _in_own_words),
)
"""Most specific first: some inherit from others."""
