from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.nodes import PreflightConfig
from launcher.nodes.addresses import Addresses, NodeAddress
from launcher.nodes.facts import LAUNCHER, PACKAGES, Gpu, Interface, NodeFacts, NodeNeeds
from launcher.nodes.health import OwnLauncher, judge, most_common, same_release
from launcher.nodes.table import HealthTable, Mark
from tests.nodes_request import nodes_request

GB = 10**9
NEEDS = NodeNeeds(
    request=nodes_request("hostfile"),
    root=Path("/shared"),
    ports=(),
    preflight=PreflightConfig(min_free_gb=2.0),
    write=True,
)
OWN = OwnLauncher(version="1.0", code="c0de")
SOUND = NodeFacts(
    node_rank=0,
    name="gpu0",
    seconds=0.3,
    python="3.11.7",
    executable="/usr/bin/python3",
    packages={**dict.fromkeys(PACKAGES, "1.0"), "torch": "2.13.0+cpu"},
    code="c0de",
    cpus=8,
    free_root=50 * GB,
    free_tmp=50 * GB,
    free_shm=50 * GB,
    nofile=65536,
    head_name=("10.0.0.1",),
)
GPU = Gpu(index="0", uuid="u", name="H100")


def nodes(**of_the_second: object) -> list[NodeFacts]:
    """Four sound nodes, but for what is said of the second one."""
    found = [replace(SOUND, node_rank=rank, name=f"gpu{rank}") for rank in range(4)]
    found[1] = replace(found[1], **of_the_second)  # type: ignore[arg-type]
    return found


def with_slots(count: int) -> NodeNeeds:
    return replace(NEEDS, request=nodes_request("hostfile", slots=count))


def marked(table: HealthTable) -> dict[tuple[str, str], Mark]:
    return {
        (row.node, name): cell.mark
        for row in table.rows
        for name, cell in row.cells.items()
        if cell.mark is not Mark.GOOD
    }


def packages(**versions: str) -> dict[str, str]:
    return {**SOUND.packages, **versions}


def test_sound_nodes_have_no_odd_cell() -> None:
    assert marked(judge(nodes(), NEEDS, OWN)) == {}


def test_a_slow_login_is_reported_with_its_seconds_and_those_of_the_others() -> None:
    others = [replace(each, login_s=0.5) for each in nodes()]
    slow = judge([*others[:3], replace(others[3], login_s=21.3)], NEEDS, OWN).rows[3]
    assert slow.cells["answer"].what.startswith("its login is slow: 21 s, other nodes take 0.5 s")
    both = judge([others[0], replace(others[3], login_s=5.1)], NEEDS, OWN)
    assert marked(both) == {("gpu3", "answer"): Mark.ODD}


def test_logins_that_are_all_slow_come_from_this_machine() -> None:
    assert marked(judge([replace(each, login_s=6.0) for each in nodes()], NEEDS, OWN)) == {}


def test_a_node_that_did_not_test_its_connections_is_not_behind_a_firewall() -> None:
    known = Addresses(cut_off={1: "no answer within 30 s"}, silent=(1,))
    cell = judge(nodes(), NEEDS, OWN, known).rows[1].cells["network"]
    assert (cell.text, cell.mark) == ("silent", Mark.BAD)
    assert "no answer within 30 s" in cell.what
    assert "firewall" not in cell.hint


@pytest.mark.parametrize(
    ("column", "mark", "change"),
    [
        ("answer", Mark.ODD, {"login_s": 5.0}),
        ("limits", Mark.ODD, {"limits": {"ulimit -v": 200 * GB, "ulimit -u": 60_000}}),
        ("limits", Mark.ODD, {"limits": {"ulimit -t": 7200}}),
        ("limits", Mark.BAD, {"limits": {"ulimit -v": 10**8}}),
        ("limits", Mark.BAD, {"limits": {"ulimit -f": 10**6}}),
        ("limits", Mark.BAD, {"limits": {"ulimit -u": 50}}),
        ("clock", Mark.ODD, {"clock_offset_s": 7.0}),
        ("clock", Mark.BAD, {"clock_offset_s": -90.0}),
        ("python", Mark.ODD, {"python": "3.11.2"}),
        ("python", Mark.BAD, {"python": "3.12.7"}),
        ("torch", Mark.ODD, {"packages": packages(torch="2.13.1+cpu")}),
        ("torch", Mark.ODD, {"packages": packages(torch="2.13.0+cu126")}),
        ("torch", Mark.BAD, {"packages": packages(torch="2.12.0+cpu")}),
        ("torch", Mark.BAD, {"packages": packages(torch="")}),
        ("launcher", Mark.BAD, {"packages": packages(**{LAUNCHER: "0.9"})}),
        ("launcher", Mark.BAD, {"packages": packages(**{LAUNCHER: ""}), "code": ""}),
        ("launcher", Mark.ODD, {"code": "0ther"}),
        ("packages", Mark.ODD, {"packages": packages(transformers="0.9")}),
        ("gpus", Mark.ODD, {"gpus": (GPU,)}),
        ("storage", Mark.BAD, {"storage_problem": "read-only file system"}),
        ("storage", Mark.BAD, {"problems": {"storage_problem": "no answer within 5 s"}}),
        ("disk", Mark.BAD, {"free_root": GB}),
        ("tmp", Mark.BAD, {"free_tmp": 10**6}),
        ("shm", Mark.BAD, {"free_shm": 10**6}),
        ("files", Mark.ODD, {"nofile": 512}),
        ("files", Mark.BAD, {"nofile": 64}),
        ("head", Mark.ODD, {"head_name": ("127.0.1.1",)}),
        ("head", Mark.ODD, {"problems": {"head_name": "gaierror: unknown"}}),
        ("answer", Mark.BAD, {"problem": "connection refused"}),
    ],
)
def test_what_is_wrong_with_one_node_stands_in_its_cell_and_in_no_other(
    column: str, mark: Mark, change: dict[str, object]
) -> None:
    table = judge(nodes(**change), NEEDS, OWN)
    assert marked(table) == {("gpu1", column): mark}
    assert table.bad_nodes == (("gpu1",) if mark is Mark.BAD else ())


def test_of_two_nodes_that_differ_the_second_one_is_odd() -> None:
    two = nodes(packages=packages(torch="2.12.0"))[:2]
    assert marked(judge(two, NEEDS, OWN)) == {("gpu1", "torch"): Mark.BAD}


def test_a_clock_is_off_only_by_what_the_way_there_cannot_explain() -> None:
    table = judge(nodes(clock_offset_s=7.0, clock_error_s=3.0), NEEDS, OWN)
    assert marked(table) == {}


def test_a_run_that_brings_its_launcher_needs_none_on_the_nodes() -> None:
    brings = replace(NEEDS, brings_launcher=True)
    without = nodes(packages=packages(**{LAUNCHER: ""}), code="")
    assert ("gpu1", "launcher") not in marked(judge(without, brings, OWN))
    other = nodes(packages=packages(**{LAUNCHER: "0.9"}))
    assert marked(judge(other, brings, OWN)) == {("gpu1", "launcher"): Mark.ODD}


def test_what_the_backend_needs_has_to_be_there() -> None:
    without = nodes(packages=packages(horovod=""))
    assert marked(judge(without, NEEDS, OWN)) == {("gpu1", "packages"): Mark.ODD}
    needs = replace(NEEDS, backend="horovod")
    assert marked(judge(without, needs, OWN)) == {("gpu1", "packages"): Mark.BAD}


def test_cuda_needs_a_gpu_that_the_run_may_use() -> None:
    found = [replace(each, gpus=(GPU,)) for each in nodes(visible_devices="")]
    needs = replace(NEEDS, request=nodes_request("hostfile", device="cuda"))
    assert marked(judge(found, needs, OWN)) == {("gpu1", "gpus"): Mark.BAD}


def test_a_gpu_on_which_somebody_computes_is_told_with_the_process() -> None:
    busy = replace(GPU, pids=(4711,))
    found = [replace(each, gpus=(GPU,)) for each in nodes()]
    found[1] = replace(found[1], gpus=(busy,))
    table = judge(found, NEEDS, OWN)
    assert marked(table) == {("gpu1", "gpus"): Mark.ODD}
    assert "process 4711" in table.warnings()[0]


def test_a_busy_gpu_is_noted_when_the_batch_system_names_gpus_by_uuid() -> None:
    busy = replace(GPU, uuid="GPU-8f", pids=(4711,))
    found = [replace(each, gpus=(busy,), visible_devices="GPU-8f") for each in nodes()]
    assert marked(judge(found[1:2], NEEDS, OWN)) == {("gpu1", "gpus"): Mark.ODD}


def test_shared_memory_is_wanted_for_every_rank() -> None:
    some = nodes(free_shm=40 * 2**20)
    assert judge(some, with_slots(2), OWN).bad_nodes == ()
    assert judge(some, with_slots(4), OWN).bad_nodes == ("gpu1",)


def test_who_is_cut_off_is_told_with_whom() -> None:
    known = Addresses(
        chosen={0: NodeAddress(address="10.0.0.1", interface="eth0", reason="")},
        cut_off={1: "no connection to gpu2 (gpu1 -> 10.0.0.3: no answer)"},
    )
    table = judge(nodes(), NEEDS, OWN, known)
    assert marked(table) == {("gpu1", "network"): Mark.BAD}
    assert table.rows[0].cells["network"].text == "10.0.0.1 eth0"
    assert table.rows[1].reason == "no connection to gpu2 (gpu1 -> 10.0.0.3: no answer)"


def test_a_node_that_is_alone_needs_no_name_and_no_network() -> None:
    alone = replace(SOUND, problems={"head_name": "gaierror: unknown"})
    assert marked(judge([alone], NEEDS, OWN, Addresses())) == {}


def test_a_plan_that_writes_nothing_says_nothing_of_shared_storage() -> None:
    table = judge(nodes(), replace(NEEDS, write=False), OWN)
    assert "storage" not in table.columns


def test_the_most_frequent_value_wins_and_of_equals_the_first() -> None:
    assert most_common(["b", "a", "a"]) == "a"
    assert most_common(["b", "a"]) == "b"
    assert most_common([]) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2.13.0", "2.13.1+cpu", True),
        ("2.13.0", "2.12.0", False),
        ("0.1.0", "0.2.0", False),
        ("3.11.7", "3.11.2", True),
        ("3.1.1", "3.11.1", False),
        ("2.13.0rc1", "2.13.0", True),
    ],
)
def test_two_numbers_decide_whether_it_is_the_same_release(
    one: str, other: str, *, same: bool
) -> None:
    assert same_release(one, other) is same


def chosen(device: str, **interfaces: str) -> NodeNeeds:
    return replace(NEEDS, request=nodes_request("hostfile", device=device), interfaces=interfaces)


@pytest.mark.parametrize(
    ("variable", "value", "fits"),
    [
        ("GLOO_SOCKET_IFNAME", "eth0", True),
        ("GLOO_SOCKET_IFNAME", "lo", True),
        ("GLOO_SOCKET_IFNAME", "eth0,ib0", True),
        ("GLOO_SOCKET_IFNAME", "eth7", False),
        ("GLOO_SOCKET_IFNAME", "eth", False),
        ("GLOO_SOCKET_IFNAME", "eth0,eth7", False),
        ("NCCL_SOCKET_IFNAME", "eth", True),
        ("NCCL_SOCKET_IFNAME", "ens,ib", True),
        ("NCCL_SOCKET_IFNAME", "^docker", True),
        ("NCCL_SOCKET_IFNAME", "=eth0", True),
        ("NCCL_SOCKET_IFNAME", "=eth", False),
        ("NCCL_SOCKET_IFNAME", "ens", False),
    ],
)
def test_an_interface_that_the_user_chose_must_exist_on_every_node(
    variable: str, value: str, *, fits: bool
) -> None:
    names = ("eth0", "ib0")
    found = tuple(Interface(name=name, address="10.0.0.1", prefix=24) for name in names)
    others = (Interface(name=value.strip("=^").split(",")[-1], address="10.0.0.1", prefix=24),)
    every = [
        replace(each, gpus=(GPU,), interfaces=found if each.node_rank == 1 else (*others, *found))
        for each in nodes()
    ]
    table = judge(every, chosen("auto", **{variable: value}), OWN)
    assert table.bad_nodes == (() if fits else ("gpu1",))
    if not fits:
        assert f"{variable}={value}, but its interfaces are eth0, ib0, lo" in table.rows[1].reason


def test_nccl_matters_only_with_gpus() -> None:
    assert judge(nodes(), chosen("auto", NCCL_SOCKET_IFNAME="ib7"), OWN).bad_nodes == ()
    every = nodes(gpus=(GPU,))
    assert judge(every, chosen("cpu", NCCL_SOCKET_IFNAME="ib7"), OWN).bad_nodes == ()
