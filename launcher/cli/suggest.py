"""The line to type instead of one in the style of another tool. Pure.

Users type what torchrun, accelerate, DeepSpeed, horovodrun, mpirun and sbatch accept, followed by
the arguments of their program. The answer is the same command for this launcher, with their words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from hydra.core.override_parser.types import Quote, QuotedString

from launcher.config.keys import GROUPS, all_keys, free_prefix
from launcher.errors import nearest
from launcher.slurm.config import SlurmConfig

_PROGRAM = "train.py"
"""An example, for the program that the user did not name."""
_TOOLS = frozenset(
    ("python", "python3", "-u", "torchrun", "accelerate", "launch", "deepspeed", "horovodrun")
) | {"mpirun", "mpiexec", "orterun", "srun", "sbatch"}
"""Words that start a program elsewhere."""

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("nnodes", "nodes", "N", "num_nodes", "num_machines"), "nodes"),
        **dict.fromkeys(("nproc_per_node", "nproc", "num_gpus", "gpus_per_node"), "slots"),
        **dict.fromkeys(("ntasks_per_node", "procs_per_node", "npernode", "slots"), "slots"),
        **dict.fromkeys(("np", "n", "num_proc", "num_processes", "ntasks"), "ranks"),
        **dict.fromkeys(("H", "host", "hosts", "w", "nodelist"), "cluster.hosts"),
        **dict.fromkeys(("hostfile", "host_file", "machinefile", "f"), "cluster.hostfile"),
        **dict.fromkeys(("master_port", "main_process_port"), "cluster.port"),
        "max_restarts": "supervise.max_restarts",
        **dict.fromkeys(("J", "job_name"), "run_id"),
        **{name: f"cluster.slurm.{name}" for name in SlurmConfig.__dataclass_fields__},
        "p": "cluster.slurm.partition",
        "A": "cluster.slurm.account",
        "q": "cluster.slurm.qos",
        "t": "cluster.slurm.time",
        "C": "cluster.slurm.constraint",
        "x": "env",
    }
)
"""Flag of another tool -> our key; `ranks` is the number of all ranks, `env` a variable."""
_NEEDLESS_SWITCHES = frozenset(("standalone", "multi_gpu", "use_env"))
_NEEDLESS_VALUES = frozenset(
    ("rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf", "node_rank", "machine_rank")
) | {"master_addr", "main_process_ip", "start_method", "monitor_interval", "log_dir"}
"""One launcher starts all nodes, and finds out by itself what these say."""


def line(argv: Sequence[str], verbs: Collection[str], own: Mapping[str, bool]) -> list[str] | None:
    """Return the words to type instead of `argv`, None if nothing better is known.

    `verbs` take a configuration; `own` has our flags, and whether each takes a value.
    """
    reader = _Reader(argv, verbs, own)
    reader.read()
    words = reader.words()
    return words if reader.sure and words != list(argv) else None


class _Reader:
    """Sorts the words of a command line into verb, flags, overrides, program and its arguments."""

    def __init__(
        self, argv: Sequence[str], verbs: Collection[str], own: Mapping[str, bool]
    ) -> None:
        self._rest = list(argv)
        self._verbs = verbs
        self._own = own
        self._verb: list[str] = []
        self._flags: list[str] = []
        self._overrides: dict[str, str] = {}
        self._args: list[str] = []
        self._ranks = 0
        self._started = False
        """Whether the words that follow are the program's."""
        self.sure = True
        """False after a word that could mean anything."""
        self._scripted = any(word.startswith("script=") or _is_program(word) for word in argv)
        self._has_recipe = any(word.startswith("recipe=") or word == "resume" for word in argv)

    def read(self) -> None:
        while self._rest:
            word = self._rest.pop(0)
            if word == "--" and not self._started:
                self._started = not any(_is_program(each) for each in self._rest)
            elif self._started and not _is_ours(word):
                self._args.append(word)
            elif word in _TOOLS:
                continue
            elif word.startswith("-") and word.strip("-"):
                self._flag(word)
            elif "=" in word or word.startswith(("~", "+")):
                self._override(word)
            else:
                self._word(word)

    def words(self) -> list[str]:
        """Return the whole line, complete enough to run."""
        given = self._overrides
        hosts = {"cluster.hosts", "cluster.hostfile"} & given.keys()
        slurm = any(key.startswith("cluster.slurm.") for key in given)
        cluster = "hostfile" if hosts else "slurm" if slurm else ""
        if self._ranks and not hosts:
            given.setdefault("slots", _per_node(self._ranks, given.get("nodes", "")))
        first = {}
        if self._verb in ([], ["run"], ["plan"], ["stage"]) and "recipe" not in given:
            key = "module" if "module" in given else "script"
            first = {"recipe": "script", key: given.get(key, _PROGRAM)}
        if cluster and "cluster" not in given:
            first["cluster"] = cluster
        overrides = [f"{key}={value}" for key, value in {**first, **given}.items()]
        return [*self._verb, *self._flags, *overrides, *self._arguments()]

    def _arguments(self) -> list[str]:
        if not self._args:
            return []
        plain = not any(re.search(r"""[\s'"\\,\[\]{}]|\$\{|^$""", arg) for arg in self._args)
        return [f"args=[{','.join(self._args if plain else map(_quoted, self._args))}]"]

    def _flag(self, word: str) -> None:
        name, equals, value = word.partition("=")
        bare = name.lstrip("-").replace("-", "_")
        if name in self._own and not self._is_module(name):
            self._own_flag(word)
        elif bare in _NEEDLESS_SWITCHES:
            return
        elif bare in _NEEDLESS_VALUES:
            if not equals and self._has_value():
                self._rest.pop(0)
        elif key := self._key(name.lstrip("-"), bare):
            self._set(key, value if equals else self._rest.pop(0) if self._has_value() else "")
        else:
            self._args += [word] if equals or not self._has_value() else [word, self._rest.pop(0)]
            self.sure &= self._scripted or not nearest(name, self._own)

    def _own_flag(self, word: str) -> None:
        name, equals, value = word.partition("=")
        self._flags.append(word)
        if self._own[name] and not equals:
            value = self._rest.pop(0) if self._rest else ""
            self._flags.append(value)
        self.sure &= bool(value) == self._own[name]

    def _is_module(self, name: str) -> bool:
        """Return whether this is the `-m` of Python: a module follows, and `-m` has no values."""
        if name != "-m" or not self._rest or "module" not in all_keys():
            return False
        return re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", self._rest[0]) is not None and (
            self._rest[0] not in self._verbs
        )

    def _key(self, name: str, bare: str) -> str:
        if name == "m":
            return "module"
        if bare in _KEYS:
            return _KEYS[bare]
        if "." in name and name in all_keys():
            return name
        if self._scripted or not self._has_recipe:
            return ""
        if name in all_keys() or name in GROUPS:
            return name
        return next((key for key in all_keys() if key.endswith(f".{bare}")), "")

    def _set(self, key: str, value: str) -> None:
        if not value:
            self.sure = False
        elif key == "ranks":
            self._ranks = int(value) if value.isdigit() else 0
            self.sure &= value.isdigit()
        elif key == "cluster.hosts":
            self._overrides[key] = f"[{value}]"
        elif key == "nodes" and ":" in value:  # torchrun: least and most
            least, _, most = value.partition(":")
            self._overrides |= {"nodes": most, "cluster.min_nodes": least}
        elif key == "slots" and not value.isdigit():  # torchrun: gpu, cpu, auto
            self._overrides[key] = "auto"
        elif key == "env":
            self._overrides[f"env.{value.partition('=')[0]}"] = value.partition("=")[2] or "VALUE"
        elif key == "module":
            self._overrides[key] = value
            self._started = True
        else:
            self._overrides[key] = value

    def _override(self, word: str) -> None:
        key, _, value = word.partition("=")
        if not value and _known(key) and self._has_value():  # `nodes= 4`
            value = self._rest.pop(0)
        if key == "args" and (inside := re.fullmatch(r"\[([^\[\]'\"\\{}]*)\]", value)):
            self._args += [part.strip() for part in inside.group(1).split(",")]
        elif "=" in word:
            self._overrides[key] = value
        else:
            self._flags.append(word)  # `~key`

    def _word(self, word: str) -> None:
        follows = self._rest[0] if self._rest else ""
        if word in self._verbs and not self._verb:
            self._verb = [word]
        elif _known(word) and follows.startswith("="):  # `nodes = 4`, `nodes =4`
            self._rest[0] = word + follows
        elif _known(word) and self._has_value():  # `nodes 4`
            self._override(f"{word}={self._rest.pop(0)}")
        elif _is_program(word):
            self._overrides["script"] = word
            self._started = True
        elif self._verb == ["resume"]:
            self._verb.append(word)
        elif self._args and self._scripted:
            self._args.append(word)
        else:
            self.sure = False

    def _has_value(self) -> bool:
        """Return whether the next word can be the value of the flag or key before it."""
        if not self._rest:
            return False
        word = self._rest[0]
        number = re.fullmatch(r"-\.?\d.*", word)
        return (not word.startswith("-") or number is not None) and not (
            _is_program(word) or _is_ours(word) or word in _TOOLS
        )


def _known(key: str) -> bool:
    return key in all_keys() or key in GROUPS or free_prefix(key.lstrip("+")) is not None


def _is_ours(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and _known(key)


def _is_program(word: str) -> bool:
    return word.endswith(".py") and not word.startswith("-") and "=" not in word


def _quoted(text: str) -> str:
    mark = Quote.single if '"' in text and "'" not in text else Quote.double
    return QuotedString(text=text, quote=mark).with_quotes()


def _per_node(ranks: int, nodes: str) -> str:
    count = int(nodes) if nodes.isdigit() and int(nodes) else 1
    return str(ranks // count if ranks % count == 0 else ranks)
