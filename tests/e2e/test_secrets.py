"""Secrets reach the program, and no file, message or process list has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.e2e]

PROGRAM = """
import json, os, pathlib, sys
from launcher import runtime

run_id, own = os.environ["LAUNCHER_RUN_ID"].encode(), []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if b"LAUNCHER_RUN_ID=" + run_id in (folder / "environ").read_bytes().split(b"\\0"):
            own.append((folder / "cmdline").read_text())
    except OSError:
        pass
values = {"argv": sys.argv[1:], "params": runtime.init().config["params"], "processes": own}
pathlib.Path(os.environ["SEEN"]).write_text(json.dumps(values))
if "--exit" in sys.argv:
    print(sys.argv[1:])
    sys.exit(3)
if "--fail" in sys.argv:
    raise ValueError(f"cannot log in with {sys.argv[1:]}")
"""
PLANTED = {
    "hf": "hf_PLANTEDabcdefghijklmn",
    "password": "PLANTED, with words",
    "wandb": "PLANTEDaB3dE6gH9",
    "logger": "PLANTEDlogger1",
    "aws": "PLANTED/aws+key==",
    "s3": "PLANTEDs3secret",
    "url": "PLANTEDurl",
    "signature": "PLANTEDsignature",
    "bearer": "PLANTEDbearer99",
    "json": "PLANTEDjson",
    "github": "ghp_PLANTED0123456789abcd",
    "aws_id": "AKIAPLANTED123456789",
}
ARGV = [
    f"--hf_token={PLANTED['hf']}",
    *("--password", PLANTED["password"]),
    f"--wandb.api_key={PLANTED['wandb']}",
    f"+logger.token={PLANTED['logger']}",
    f"AWS_SECRET_ACCESS_KEY={PLANTED['aws']}",
    f"s3://key:{PLANTED['s3']}@bucket",
    f"https://user:{PLANTED['url']}@host",
    f"https://host/f?X-Amz-Signature={PLANTED['signature']}",
    *("--header", f"Authorization: Bearer {PLANTED['bearer']}"),
    f'{{"user": "me", "password": "{PLANTED["json"]}"}}',
    PLANTED["github"],
    PLANTED["aws_id"],
    *("--tokenizer", "bert", "--max_tokens", "512"),
]


def quoted(argv: list[str]) -> str:
    return "args=[" + ",".join("'{}'".format(each.replace("'", r"\'")) for each in argv) + "]"


def leaks(text: str) -> list[str]:
    return [each for each in (*PLANTED.values(), "PLANTED") if each in text]


def files_with_leaks(folder: Path) -> dict[str, list[str]]:
    """Return the files below `folder` that have a secret. Logs are the program's own output."""
    return {
        str(path): found
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".log"
        if (found := leaks(path.read_bytes().decode("utf-8", "replace")))
    }


def run_id(person) -> str:  # type: ignore[no-untyped-def]
    return str(person.cwd.name[:60])  # its own: runs of one name try the same ports


@pytest.fixture
def words(person) -> list[str]:  # type: ignore[no-untyped-def]
    (person.cwd / "train.py").write_text(PROGRAM)
    person.env["SEEN"] = str(person.cwd.parent / f"{person.cwd.name}-seen.json")
    return [
        "recipe=script",
        "script=train.py",
        f"run_id={run_id(person)}",
        "device=cpu",
        "params.token=hf_PLANTED0123456789",
    ]


def seen(person) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    return json.loads(Path(person.env["SEEN"]).read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("slots", [1, 2])
def test_the_program_has_the_secrets_and_nothing_else_shows_them(person, words, slots) -> None:  # type: ignore[no-untyped-def]
    done = person.types("run", *words, f"slots={slots}", quoted(ARGV))
    assert done.returncode == 0, done.stderr
    assert seen(person)["argv"] == ARGV
    assert seen(person)["params"] == {"token": "hf_PLANTED0123456789"}
    assert seen(person)["processes"]
    assert leaks("\n".join(seen(person)["processes"])) == []
    assert leaks(done.stdout + done.stderr) == []
    assert files_with_leaks(person.cwd / "outputs") == {}


@pytest.mark.parametrize("how", ["--fail", "--exit"])
def test_a_failure_shows_no_secret(person, words, how) -> None:  # type: ignore[no-untyped-def]
    failed = person.types("run", *words, "supervise.echo=false", quoted([how, *ARGV]))
    assert failed.returncode == 5
    assert "--hf_token=***" in failed.stderr
    answers = [person.types(verb, run_id(person)) for verb in ("why", "status")]
    for each in (failed, *answers):
        assert leaks(each.stdout + each.stderr) == []
    assert files_with_leaks(person.cwd / "outputs") == {}


def test_plans_and_refusals_show_no_secret(person, words) -> None:  # type: ignore[no-untyped-def]
    for typed in (
        ["plan", *words, quoted(ARGV)],
        ["plan", "--json", *words, quoted(ARGV)],
        ["run", *words, "trian.lr=1", quoted(ARGV)],
        ["run", *words, quoted(ARGV)[:-1]],
        ["run", *words, f"arguments={quoted(ARGV)}"],
        ["run", *words, "--hf_token", PLANTED["hf"]],
        ["run", *words, f"--hf_token={PLANTED['hf']}"],
        ["run", *words, f"hf_token={PLANTED['hf']}"],
        ["run", *words, f"env.HF_TOKEN={PLANTED['hf']}"],
        ["run", *words, f"env.OTHER={PLANTED['hf']}"],
        ["run", *words, f"cluster.slurm.extra=[--comment={PLANTED['hf']}]"],
        ["status", f"password={PLANTED['json']}"],
    ):
        done = person.types(*typed)
        assert leaks(done.stdout + done.stderr) == [], typed
        assert (done.returncode == 0) == (typed[0] == "plan"), typed


def test_resume_needs_the_secret_again(person, words) -> None:  # type: ignore[no-untyped-def]
    typed = quoted(["--fail", "--password", "PLANTEDone"])
    assert person.types("run", *words, typed).returncode == 5
    refused = person.types("resume", run_id(person))
    assert refused.returncode == 2
    name = "LAUNCHER_SECRET_PASSWORD"
    assert f"export {name}" in refused.stderr
    assert "Traceback" not in refused.stderr
    hf = {"LAUNCHER_SECRET_TOKEN": "hf_PLANTED0123456789"}
    person.env.update({name: "PLANTEDtwo", **hf})
    assert person.types("resume", run_id(person)).returncode == 5
    assert seen(person)["argv"] == ["--fail", "--password", "PLANTEDtwo"]
    del person.env[name]
    again = person.types("resume", run_id(person), quoted(["--fail", "--password", "PLANTEDthree"]))
    assert again.returncode == 5, again.stderr
    assert seen(person)["argv"] == ["--fail", "--password", "PLANTEDthree"]
    assert files_with_leaks(person.cwd / "outputs") == {}


def test_the_repeated_command_can_be_typed_where_the_variable_is_exported(person, words) -> None:  # type: ignore[no-untyped-def]
    person.env["DB_PASSWORD"] = "PLANTEDaB3dE6"
    done = person.types("run", *words, "args=[--password,PLANTEDaB3dE6]")
    repeat = next(line for line in done.stdout.splitlines() if line.startswith("repeat"))
    assert re.search(r"--password,\*\*\*DB_PASSWORD\*\*\*", repeat)
    args = re.search(r"args=\[[^\]]*\]", repeat)
    assert args
    assert person.types("run", *words, args[0], "resume=never").returncode == 0
    assert seen(person)["argv"] == ["--password", "PLANTEDaB3dE6"]


def test_a_sweep_shows_no_secret(person, words) -> None:  # type: ignore[no-untyped-def]
    sweep = "args=[--password,PLANTEDone],[--password,PLANTEDtwo]"
    done = person.types("run", *words, "-m", sweep)
    assert done.returncode == 0, done.stderr
    assert seen(person)["argv"] == ["--password", "PLANTEDtwo"]
    assert "run 2 of 2: args=[" in done.stdout
    assert leaks(done.stdout + done.stderr) == []
    assert files_with_leaks(person.cwd / "outputs") == {}
