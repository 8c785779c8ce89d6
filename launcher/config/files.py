"""Reads YAML files. The values of text keys keep the text of the file.

YAML gives plain values a type before the schema sees them: `time: 12:00:00` is the number 43200,
`revision: 0123456` is 42798, and `args: [--lr, 2.10]` loses a digit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from launcher.config.keys import all_keys, is_list_of_texts, is_named_texts, is_text
from launcher.errors import ConfigError

_TAG = "tag:yaml.org,2002:"


class TextFiles(FileConfigSource):
    """Hydra's source of files, for the scheme `text://`."""

    @staticmethod
    def scheme() -> str:
        return "text"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of a file.

        Raises:
            ConfigError: the value of a text key is not text.
        """
        file = Path(self.path, self._normalize_file_name(config_path))
        header = self._get_header_dict(file.read_text(encoding="utf-8"))
        group = Path(config_path).parent.as_posix().replace("/", ".")
        package = (header.get("package") or "_group_").replace("_group_", group)
        values = read(file, package=package.removeprefix("_global_").strip("."), omegaconf=True)
        return ConfigResult(
            config=OmegaConf.create({} if values is None else values),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header=header,
        )


def read(file: Path, *, package: str = "", omegaconf: bool = False) -> Any:
    """Return the content of a YAML file whose keys are below the key `package`.

    With `omegaconf`, `1e-4` is a number, as in all files that Hydra reads.

    Raises:
        ConfigError: the value of a text key is not text.
        OSError, ValueError, yaml.YAMLError: the file cannot be read.
    """
    kind = get_yaml_loader() if omegaconf else yaml.SafeLoader
    loader = kind(file.read_text(encoding="utf-8"))
    loader.name = str(file)  # for error messages
    try:
        node = loader.get_single_node()
        return loader.construct_document(_texts(node, package)) if node else None
    finally:
        loader.dispose()


def _texts(node: yaml.Node, name: str) -> yaml.Node:
    """Return `node`, the value of the key `name`, with text where the schema has text.

    Changes a copy, because an alias may use the same node for another key.
    """
    if is_text(name):
        return _text(node, name)
    if is_list_of_texts(name) and isinstance(node, yaml.SequenceNode):
        return _copy(node, [_text(item, f"{name}[{n}]") for n, item in enumerate(node.value)])
    if isinstance(node, yaml.MappingNode) and _contains_texts(name):
        return _copy(node, [_pair(key, value, name) for key, value in node.value])
    if (is_list_of_texts(name) or is_named_texts(name)) and node.tag == f"{_TAG}null":
        raise _unusable(node, f"`{name}` has no value", "remove the line, or give it a value")
    return node


def _contains_texts(name: str) -> bool:
    return not name or is_named_texts(name) or any(key.startswith(f"{name}.") for key in all_keys())


def _pair(key: yaml.Node, value: yaml.Node, parent: str) -> tuple[yaml.Node, yaml.Node]:
    if key.tag == f"{_TAG}merge":
        if isinstance(value, yaml.SequenceNode):
            return key, _copy(value, [_texts(each, parent) for each in value.value])
        return key, _texts(value, parent)
    name = f"{parent}.{key.value}".lstrip(".")
    return (_text(key, name) if is_named_texts(parent) else key), _texts(value, name)


def _text(node: yaml.Node, name: str) -> yaml.Node:
    if isinstance(node, yaml.CollectionNode):
        raise _unusable(node, f"`{name}`: expected text, got {_kind(node)}", _quoted(node))
    if node.tag == f"{_TAG}null":
        hint = 'write "" for an empty text, or "null"'
        raise _unusable(node, f"`{name}`: expected text, got no value", hint)
    return yaml.ScalarNode(f"{_TAG}str", node.value, node.start_mark, node.end_mark)


def _copy(node: yaml.CollectionNode, value: list[Any]) -> yaml.CollectionNode:
    return type(node)(node.tag, value, node.start_mark, node.end_mark, node.flow_style)


def _kind(node: yaml.CollectionNode) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "names and values"


def _quoted(node: yaml.CollectionNode) -> str:
    start, end = node.start_mark, node.end_mark
    source = str(start.buffer)[start.pointer : end.pointer].replace("'", "''")
    return f"quote it: '{source}'" if node.flow_style else "write it as one line, in quotes"


def _unusable(node: yaml.Node, problem: str, hint: str) -> ConfigError:
    mark = node.start_mark
    return ConfigError(problem, context=f"in {mark.name}, line {mark.line + 1}", hint=hint)
