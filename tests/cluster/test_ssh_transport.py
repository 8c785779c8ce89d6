"""`ssh` between hosts that crash, freeze and lose their network."""

from __future__ import annotations

from tests.cluster.transport_held import ask, held
from tests.lab import Lab

HOSTS = ("head", "host1", "host2", "host3")
OTHERS = ("head", "host1", "host3")


def test_commands_run_on_all_hosts_and_close_leaves_none(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        assert all(state == {"code": None, "lost": ""} for state in commands.states().values())
        commands.close()
        assert all(state == {"code": -9, "lost": ""} for state in commands.states().values())
        assert commands.is_gone_from(*HOSTS)
        commands.wait_for("the end of all connections", lambda: not _ssh_clients(lab))


def _ssh_clients(lab: Lab) -> list[str]:
    commands = [each.command for each in lab.processes("head")]
    return [command for command in commands if command.startswith(("ssh ", "ssh:"))]


def test_a_crashed_host_is_lost_and_the_others_go_on(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.crash("host2")
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        assert commands.state("host2")["code"] == -9
        assert all(commands.state(host) == {"code": None, "lost": ""} for host in OTHERS)
        assert commands.lives_on(*OTHERS)
        commands.close()
        assert commands.is_gone_from(*OTHERS)


def test_a_host_without_power_says_nothing_and_is_lost(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.poweroff("host2")
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        assert "from host2" in commands.state("host2")["lost"]
        assert commands.lives_on(*OTHERS)
        commands.close()


def test_a_frozen_host_is_lost_and_ends_everything_when_it_thaws(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.freeze("host2")
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        assert commands.lives_on("host2")
        lab.thaw("host2")
        commands.wait_for("the end on host2", lambda: commands.is_gone_from("host2"))
        assert commands.lives_on(*OTHERS)
        commands.close()


def test_a_host_that_is_cut_off_ends_everything_by_itself(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.partition("host2", ["head"])
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        commands.wait_for("the end on host2", lambda: commands.is_gone_from("host2"))
        assert commands.lives_on(*OTHERS)
        commands.close()


def test_when_the_head_crashes_nothing_goes_on_anywhere(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.crash("head")
        commands.wait_for("the end", lambda: commands.is_gone_from("host1", "host2", "host3"))


def test_when_the_head_loses_power_nothing_goes_on_anywhere(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        lab.poweroff("head")
        commands.wait_for("the end", lambda: commands.is_gone_from("host1", "host2", "host3"))


def test_when_the_supervisor_is_killed_nothing_goes_on_anywhere(lab: Lab) -> None:
    with held(lab, "ssh", HOSTS) as commands:
        commands.kill_the_supervisor()
        commands.wait_for("the end", lambda: commands.is_gone_from(*HOSTS))


def test_hosts_that_are_down_do_not_keep_the_others_from_answering(lab: Lab) -> None:
    lab.crash("host2")
    lab.poweroff("host3")
    answers = ask(lab, "ssh", HOSTS)
    assert answers["head"] == [{"host": "head"}, "", ""]
    assert answers["host1"] == [{"host": "host1"}, "", ""]
    assert "Connection refused" in answers["host2"][1]
    assert "timed out" in answers["host3"][1] or "No route" in answers["host3"][1]
    assert all("is the machine up" in answers[host][2] for host in ("host2", "host3"))
