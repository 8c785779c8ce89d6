"""Turns the exceptions of Hydra, OmegaConf and YAML into our errors. The only table for this."""

from __future__ import annotations

import re
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

from launcher import units
from launcher.config.file_errors import find, not_yaml
from launcher.config.keys import Key, all_keys, free_prefix
from launcher.config.overrides import Groups, refuse_unknown_choice, unknown_key
from launcher.config.paths import ConfigPaths
from launcher.config.rewrite import as_list, as_text, takes_list, without_stray_quotes
from launcher.errors import ConfigError, nearest

FOREIGN = (HydraException, OmegaConfBaseException, yaml.YAMLError)
"""What `compose` may raise because of the user's input."""

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


def explain(
    error: Exception, texts: Sequence[str], paths: ConfigPaths, groups: Groups
) -> ConfigError | None:
    """Return the error to show for `error`, raised while composing from the overrides `texts`.

    None if the user's input is not its cause.
    """
    context = _Context(error, texts, groups)
    is_typed = not context.name and context.typed(_key(_innermost(error)))
    in_file = None if is_typed else _in_file(context, paths)
    if in_file is not None:
        return in_file
    if not isinstance(error, FOREIGN):
        return None
    cause = _innermost(error)
    for kind, convert in _TABLE:
        if isinstance(cause, kind):
            return convert(cause, context)
    return _in_our_words(cause, context)


def _in_file(context: _Context, paths: ConfigPaths) -> ConfigError | None:
    """Return what is wrong in a user's file: the one that Hydra names, else any selected one."""
    selected = [each.partition("=")[::2] for each in context.texts]
    for folder in paths.user:
        names = [context.name] if context.name else [f"{group}/{name}" for group, name in selected]
        for name in names:
            file = folder / f"{name}.yaml"
            problem = find(file, folder, context.groups) if file.exists() else None
            if problem is not None:
                return problem
    return None


class _Context:
    """What else is known about an error."""

    def __init__(self, error: Exception, texts: Sequence[str], groups: Groups) -> None:
        self.texts = texts
        self.groups = groups
        self.name = _name(error)
        """Of the config file that the error is about, such as `recipe/mine`."""

    @property
    def where(self) -> str:
        return f"in conf/{self.name}.yaml" if self.name else ""

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
    return next((each for each in chain if getattr(each, "full_key", None)), (*chain, error)[0])


def _name(error: Exception) -> str:
    """Return which file the error is about, read from Hydra's message."""
    for each in _chain(error):
        match = re.search(r"In '([^']+)'", str(each))
        if match and match.group(1) not in ("config", "saved_run", "hydra/config"):
            return match.group(1)
    return ""


def _chain(error: Exception) -> Iterator[Exception]:
    link: BaseException | None = error
    while isinstance(link, FOREIGN):
        yield link
        link = link.__cause__ or link.__context__


def _key(error: Exception) -> str:
    """Return the key that OmegaConf names, without a place in a list."""
    return re.sub(r"\[.*$", "", str(getattr(error, "full_key", "") or ""))


def _unknown_key(error: Exception, context: _Context) -> ConfigError:
    name = _key(error)
    return unknown_key(name, context.groups, context=context.where)


def _bad_value(error: Exception, context: _Context) -> ConfigError:
    name = _key(error)
    key = all_keys().get(name)
    value = context.typed(name) or _value_in(error)
    if free_prefix(name) is not None:
        return ConfigError(
            f"`{name}`: expected text, got `{value}`",
            context=context.where,
            hint=f"put the value in quotes: {as_text(name, value)}",
        )
    if key is None:
        return _in_our_words(error, context)
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
    bare = without_stray_quotes(value)
    if takes_list(key.name) and value and not re.search(r"[\[\]{}]|^null$", bare):
        return f"for a list, write {as_list(key.name, bare)}"
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
    return _in_our_words(error, context)


def _missing_value(error: Exception, context: _Context) -> ConfigError:
    name = _key(error) or "a value"
    if _MISSING in context.typed(name):
        return ConfigError(
            f"`{name}`: `{_MISSING}` marks a missing value and cannot be text",
            hint="use another text",
        )
    return ConfigError(
        f"`{name}` is required", context=context.where, hint=f"add `{name}=...` to the command"
    )


_MISSING = "???"
_LITERAL = "write {literal} if this is not a reference"
_REFERENCES: tuple[tuple[str, str, str], ...] = (
    (r"Interpolation key '(.+?)' not found", "refers to `{0}`, which does not exist", _LITERAL),
    (
        r"Environment variable '(.+?)' not found",
        "refers to the environment variable {0}, which is not set",
        "export it, or give a default: `${{oc.env:{0},DEFAULT}}`",
    ),
    (
        r"Unsupported interpolation type (\S+)",
        "has a reference of an unknown kind, `${{{0}:...}}`",
        "expected `${{key}}` or `${{oc.env:NAME}}`; " + _LITERAL,
    ),
    (r"[Rr]ecursive interpolation", "refers to itself", "give it a value"),
    (
        r"Value '(.*)' of type .* could not be converted",
        "refers to `{0}`, which is a value of another kind",
        "give it a value of its own",
    ),
    (
        r"HydraConfig was not set",
        "refers to `${{hydra:...}}`, which has no value here",
        "`${{oc.env:NAME}}` reads the environment",
    ),
    (r"input '.*\$\{", "contains `${{`, but no complete reference", _LITERAL),
)
"""What OmegaConf says of a reference -> our message and hint."""


def _reference(error: Exception, context: _Context) -> ConfigError:
    key, said = _key(error), str(error)
    typed = re.sub(r"(?<!\\)\$\{", r"\\${", context.typed(key))
    literal = units.shell_word(f"{key}={typed}") if typed else r"`\${...}`"
    message, hint, values = "has a reference that cannot be read", _LITERAL, tuple[str, ...]()
    for pattern, *answer in _REFERENCES:
        if match := re.search(pattern, said):
            (message, hint), values = answer, match.groups()
            break
    name = key.replace("_dummy_", "defaults") or "a value"
    return ConfigError(
        f"`{name}` {message.format(*values)}",
        context=context.where,
        hint=hint.format(*values, literal=literal),
    )


def _in_our_words(error: Exception, context: _Context) -> ConfigError:
    said = str(error)
    if match := re.search(r"[Cc]ould not delete from config. '(.+?)' does not exist", said):
        typed = f"~{match.group(1)}"
        return ConfigError(f"`{typed}`: no file sets this key", hint=f"omit `{typed}`")
    if match := re.search(r"[Cc]ould not override '(.+?)'", said):
        group = match.group(1)
        typed = next((each for each in context.texts if each.startswith(f"{group}=")), f"{group}=")
        return ConfigError(
            f"`{typed}`: no file selects the group `{group}`",
            context=context.where,
            hint=f"to add it, write {units.shell_word('+' + typed)}",
        )
    if match := re.search(r"(\S+) appears more than once|[Mm]ultiple values for (\S+?)\.", said):
        group = match.group(1) or match.group(2)
        return ConfigError(
            f"the group `{group}` is selected twice", context=context.where, hint="select it once"
        )
    internal = re.compile(r"^\s*(full_key|object_type|reference_type)\b.*$|^In '.*?': ", re.M)
    return ConfigError(
        "the configuration cannot be composed",
        context="\n".join(filter(None, [context.where, internal.sub("", said).strip()])),
        hint="`python -m launcher run --help` lists every key and what it expects",
    )


_TABLE: tuple[
    tuple[type[Exception] | tuple[type[Exception], ...], Callable[..., ConfigError]], ...
] = (
    (MissingConfigException, _missing_choice),
    (InterpolationKeyError, _reference),
    (InterpolationResolutionError, _reference),
    (GrammarParseError, _reference),
    (MissingMandatoryValue, _missing_value),
    ((ConfigKeyError, ConfigAttributeError), _unknown_key),
    ((ValidationError, UnsupportedValueType, ConfigTypeError), _bad_value),
    (yaml.YAMLError, lambda error, _: not_yaml(error)),
    ((OverrideParseException, ConfigCompositionException), _in_our_words),
)
"""Most specific first: some inherit from others."""
