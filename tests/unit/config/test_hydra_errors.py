"""Every error of the user gets a sentence, the nearest valid name and exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError

INTERNAL = re.compile(
    r"\+\+[a-z]+\.|[Cc]ould not o|full_key|object_type|reference_type|@hydra|defaults list"
    r"|OmegaConf|mismatched|extraneous|token recognition|no viable|composed|interpolation"
)
"""Words of Hydra and OmegaConf that say nothing to a user."""

OK = ("recipe=script", "script=train.py")

ERRORS = [
    # what is typed, what the message says, what the hint offers
    ("recipe=bert_finetun", "unknown recipe `bert_finetun`", "`bert_finetune`"),
    ("model=minilmm", "unknown model `minilmm`", "`minilm`"),
    ("data=docstring", "unknown data `docstring`", "`docstrings`"),
    ("cluster=lokal", "unknown cluster `lokal`", "`local`"),
    ("backend=torch_run", "unknown backend `torch_run`", "`torchrun`"),
    ("backend=horovd", "unknown backend `horovd`", "`horovod`"),
    ("recipee=script", "unknown key `recipee`", "`recipe`"),
    ("train.max_step=3", "unknown key `train.max_step`", "`train.max_steps`"),
    ("max_steps=3", "unknown key `max_steps`", "`train.max_steps`"),
    ("lr=1", "unknown key `lr`", "`train.lr`"),
    ("batchsize=1", "unknown key `batchsize`", "`train.batch_size`"),
    ("node=4", "unknown key `node`", "`nodes`"),
    ("nodes.x=4", "unknown key `nodes.x`", "`nodes`"),
    ("scirpt=train.py", "unknown key `scirpt`", "`script`"),
    ("zzzzzz=1", "unknown key `zzzzzz`", "launcher run --help"),
    ("+train.max_step=3", "unknown key `train.max_step`", "`train.max_steps`"),
    ("+train.lr=3", "`train.lr` already exists", "train.lr=3"),
    ("~train.lr", "a key cannot be deleted", "train.lr="),
    ("hydra.run.dir=x", "has no effect", "storage.root="),
    ("train=5", "`train` is a section", "train.max_steps"),
    ("model={name: x}", "`model` takes one name", "model="),
    ("device=gpu", "expected one of auto, cpu, cuda", "`device=cuda`"),
    ("device=cud", "expected one of auto, cpu, cuda", "`device=cuda`"),
    ("train.precision=fp16", "expected one of auto, fp32, bf16", "`train.precision=bf16`"),
    ("nodes=four", "auto, or a number of at least 1", "nodes"),
    ("nodes=1.5", "`nodes=1.5`: expected a whole number", "nodes="),
    ("nodes=", "auto, or a number of at least 1", "nodes"),
    ("nodes=null", "expected a whole number", "nodes="),
    ("nodes=0", "at least 1", "nodes"),
    ("cluster.hosts=a,b", "names several values", "cluster.hosts=[a,b]"),
    ("nodes=99999999999", "must be a typo", "nodes"),
    ("slots=99999999999", "must be a typo", "slots"),
    (f"storage.root=/tmp/{'y' * 300}", "too long for a folder", "storage.root"),
    (f"storage.root=/tmp{'/y' * 2000}", "too long for a folder", "storage.root"),
    ("slots=0", "at least 1", "slots"),
    ("slots=many", "auto, or a number", "slots"),
    ("slots=1.5", "a whole number, or auto", "slots"),
    ("train.lr=high", "expected a number", "train.lr="),
    ("train.lr=0", "must be above 0", "train.lr"),
    ("train.lr=-1", "must be above 0", "train.lr"),
    ("train.lr=nan", "must be above 0", "train.lr"),
    ("train.batch_size=0", "at least 1", "train.batch_size"),
    ("train.epochs=0", "at least 1", "train.epochs"),
    ("train.max_steps=-1", "cannot be negative", "train.max_steps"),
    ("train.micro_batch_size=64", "cannot be larger than", "train.micro_batch_size"),
    ("train.compile=maybe", "auto, true or false", "train.compile"),
    ("train.record_samples=maybe", "one of true, false", "train.record_samples="),
    ("checkpoint.keep=1", "2 or more", "checkpoint.keep"),
    ("checkpoint.every_steps=-5", "cannot be negative", "checkpoint.every_steps"),
    ("supervise.lost_after_s=0", "about once a second", "supervise.lost_after_s"),
    ("resume=latest", "unknown resume `latest`", "checkpoints ls"),
    ("determinism=logical_shard", "expected one of same_ranks, logical_shards", "=logical_shards`"),
    ("determinism=none", "expected one of same_ranks, logical_shards", "`determinism=same_ranks`"),
    ("determinsm=logical_shards", "unknown key `determinsm`", "`determinism`"),
    ("logical_shards=0", "at least 1", "logical_shards"),
    ("run_id=../escape", "not a valid name", "run_id="),
    ("run_id=a/b", "not a valid name", "run_id=a-b"),
    ("run_id='my run'", "not a valid name", "run_id=my-run"),
    ("run_id=latest", "`latest` means the newest run", "resume"),
    ("run_id=\x1b[31mred", r"`run_id=\x1b[31mred` is not a valid name", "run_id=31mred"),
    ("run_id=..", "not a valid name", "run_id=my-run"),
    ("run_id=-x", "not a valid name", "run_id=x"),
    ("run_id='a\nb'", "not a valid name", "run_id=a-b"),
    ("run_id='\u0430b'", "not a valid name", "run_id=b"),
    (f"run_id={'x' * 129}", "not a valid name", f"run_id={'x' * 128}"),
    ("run_id=.hidden", "not a valid name", "run_id=hidden"),
    ("cluster.port=70000", "0 to 65535", "cluster.port"),
    ("storage.root=s3://bucket/x", "runs cannot be stored on `s3://`", "storage.root=/"),
    ("storage.root=", "`storage.root` is empty", "storage.root"),
    ("args=--x", "expected a list in brackets", "args=[--x]"),
    ("args=[--x,1", "cannot read", "close every bracket"),
    ("nodes", "expected `key=value`, got `nodes`", "nodes=..."),
    ("nodes =4", "cannot read", "without spaces"),
    ("train.lr=a(b", "cannot read", "quote the value"),
    ("nodes=1,2", "names several values", "add `-m`"),
    ("train.lr=choice(1,2)", "names several values", "add `-m`"),
    ("env.HF_TOKEN=abc", "looks like a secret", "export HF_TOKEN"),
    ("env.LAUNCHER_RUN_ID=abc", "the launcher itself sets", "another name"),
    ("env.a-b=abc", "not a valid name of a variable", "A-Z"),
    ("params.x=${nothing}", "refers to `nothing`, which does not exist", "\\${"),
    ("params.x=${oc.env:NO_SUCH}", "the environment variable NO_SUCH", "${oc.env:NO_SUCH,"),
    ("params.x=${foo:1}", "a reference of an unknown kind", "${oc.env:NAME}"),
    ("params.x=${oc.env:HOME", "expected a closing `}`", "quote the value"),
    ("nodes=${nodes}", "`nodes` refers to itself", "give it a value"),
    ("checkpoint.keep=${nodes}", "refers to `auto`, which is a value of another kind", "its own"),
    ("storage.root=${hydra:run.dir}", "has no value here", "oc.env"),
    ("params.x=[", "expected a closing `]`", "'params.x=[a,b]'"),
    ("params.x=it's", "must be in quotes", "params.x="),
    ("params.x=a=b", "`=` must be in quotes here", "'params.x=\"a=b\"'"),
    ("params.x=é", "`é` must be in quotes here", "'params.x=\"é\"'"),
    ("params.x=a,b", "`params.x=a,b` names several values", "'params.x=[a,b]'"),
    ("params.=1", "not a valid key", "key=value"),
    ("env.X=a,b", "`env.X=a,b` names several values", "'env.X=\"a,b\"'"),
    ("env.=1", "not a valid key", "key=value"),
    ("env.A.B=1", "has no dots", "A-Z"),
    ("env.X='a", "cannot read `env.X='a`", "env.X="),
    ("=3", "not a valid key", "key=value"),
    ("a b=3", "not a valid key", "key=value"),
    ("0=3", "not a valid key", "key=value"),
    ("/recipe=foo", "not a valid key", "key=value"),
    ("train.lr=foo(3)", "unknown function", "train.lr="),
    ("~params.x", "no file sets this key", "omit `~params.x`"),
    ("~env.X", "no file sets this key", "omit `~env.X`"),
    ("+recipe=script", "has the group `recipe` already", "write recipe=script"),
    ("++model=bert_tiny", "has the group `model` already", "write model=bert_tiny"),
    ("model@foo=bert_tiny", "has the group `model` already", "write model=bert_tiny"),
    ("model.include=x", "expected a list in brackets", "'model.include=[x]'"),
    ("model=https://user:pw@host/x", "contains a secret", "environment"),
    ("model=uri", "`model=uri` needs `model.source`", "model.source=..."),
    ("data=rows.jsonl", "unknown data `rows.jsonl`", "`data=./rows.jsonl`"),
    ("model=org/name", "unknown model `org/name`", "`model=hf://..."),
    ("data=jsonl", "`data=jsonl` needs `data.train`", "data.train=..."),
    ("model.sha256=abc", "not a sha256", "sha256sum"),
    ("script=", "`recipe=script` needs a script", "script=train.py"),
    ("recipe=null", "`recipe` takes one name", "recipe="),
]


@pytest.mark.parametrize(("typed", "says", "offers"), ERRORS, ids=[each[0] for each in ERRORS])
def test_an_error_offers_the_right_name(tmp_path: Path, typed: str, says: str, offers: str) -> None:
    (tmp_path / "train.py").write_text("")
    with pytest.raises(ConfigError) as caught:
        config.load([*OK, typed], cwd=tmp_path)
    assert caught.value.exit_code == 2
    assert says in f"{caught.value.message} {caught.value.context}"
    assert offers in caught.value.hint
    assert not INTERNAL.search(str(caught.value)), str(caught.value)


def test_a_batch_has_at_least_one_sample_for_every_shard() -> None:
    words = [*OK, "train.batch_size=6", "logical_shards=8"]
    assert config.load(words).fixed_shards is None
    with pytest.raises(ConfigError, match="there are only `train"):
        config.load([*words, "determinism=logical_shards"])
    assert config.load([*words, "determinism=logical_shards", "logical_shards=6"]).fixed_shards == 6
