"""Use a lab by hand: `python -m tests.lab up`, then break things, then `... down`."""

from __future__ import annotations

import argparse
import os
import sys

from tests.lab import Lab, LabError, records, why_not

_VERBS_ON_A_HOST = {
    "crash": Lab.crash,
    "poweroff": Lab.poweroff,
    "boot": Lab.boot,
    "freeze": Lab.freeze,
    "thaw": Lab.thaw,
    "link-down": Lab.link_down,
    "link-up": Lab.link_up,
    "heal": Lab.heal,
}


def main() -> int:
    chosen = _parser().parse_args()
    try:
        _run(chosen)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start a head and hosts that stay until `down`")
    up.add_argument("--hosts", type=int, default=4)
    up.add_argument("--slurm", action="store_true")
    up.add_argument("--max-startups", help="sshd's MaxStartups, for example 200:30:400")
    verbs.add_parser("down", help="remove it, and what killed tests left behind")
    verbs.add_parser("repair", help="repair all hosts")
    verbs.add_parser("shell", help="a root shell on a host").add_argument("host")
    for verb, method in _VERBS_ON_A_HOST.items():
        verbs.add_parser(verb, help=method.__doc__).add_argument("host")
    partition = verbs.add_parser("partition", help=Lab.partition.__doc__)
    partition.add_argument("host")
    partition.add_argument("peers", nargs="+")
    return parser


def _run(chosen: argparse.Namespace) -> None:
    if chosen.verb == "up":
        _up(chosen.hosts, slurm=chosen.slurm, max_startups=chosen.max_startups)
    elif chosen.verb == "down":
        _down()
    elif chosen.verb == "repair":
        _lab_by_hand().repair_all()
    elif chosen.verb == "shell":
        _become_a_shell(_lab_by_hand(), chosen.host)
    elif chosen.verb == "partition":
        _lab_by_hand().partition(chosen.host, chosen.peers)
    else:
        _VERBS_ON_A_HOST[chosen.verb](_lab_by_hand(), chosen.host)


def _up(hosts: int, *, slurm: bool, max_startups: str | None) -> None:
    if reason := why_not():
        raise LabError(reason)
    if _records_by_hand():
        raise LabError("a lab is already up; `python -m tests.lab down` removes it")
    lab = Lab(hosts, slurm=slurm, max_startups=max_startups)
    lab.up(keep=True)
    for name in lab.names:
        print(f"{name:8} {lab.address(name)}")
    print(f"/shared  {lab.shared}\nssh      ssh -F {lab.ssh_config} head")
    print("shell    python -m tests.lab shell head")


def _down() -> None:
    with records.locked():
        for record in records.all_records():
            if record.owner is None or record.abandoned:
                Lab.attach(record).down()


def _become_a_shell(lab: Lab, host: str) -> None:
    argv, environ = lab.shell(host)
    os.execvpe(argv[0], argv, environ)


def _lab_by_hand() -> Lab:
    if not (labs := _records_by_hand()):
        raise LabError("no lab is up; `python -m tests.lab up` starts one")
    return Lab.attach(labs[0])


def _records_by_hand() -> list[records.Record]:
    with records.locked():
        return [record for record in records.all_records() if record.owner is None]


if __name__ == "__main__":
    sys.exit(main())
