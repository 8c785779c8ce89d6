from __future__ import annotations

from launcher.nodes.table import Cell, HealthRow, HealthTable, Mark

GOOD = Cell(text="ok")
BAD = Cell(text="2.12", mark=Mark.BAD, what="torch 2.12, most have 2.13", hint="share one")
ODD = Cell(text="7 s", mark=Mark.ODD, what="its clock is off")


def table(**rows: dict[str, Cell]) -> HealthTable:
    return HealthTable(
        rows=tuple(HealthRow(node=name, cells=cells) for name, cells in rows.items())
    )


def test_the_odd_cells_are_signed_and_the_bad_ones_explained_below() -> None:
    found = table(gpu1={"clock": GOOD, "torch": GOOD}, gpu2={"clock": ODD, "torch": BAD})
    assert found.render() == (
        "node  clock  torch\n"
        "gpu1  ok     ok\n"
        "gpu2  ? 7 s  ! 2.12\n"
        "gpu2: torch 2.12, most have 2.13\n"
        "  -> share one"
    )
    assert found.warnings() == ("gpu2: its clock is off",)
    assert found.bad_nodes == ("gpu2",)


def test_nodes_with_the_same_trouble_are_named_together() -> None:
    found = table(gpu1={"torch": BAD}, gpu2={"torch": BAD}, gpu3={"torch": GOOD})
    assert found.render().count("most have 2.13") == 1
    assert "gpu1, gpu2: torch 2.12" in found.render()


def test_only_the_remarkable_columns_are_shown_when_asked_for() -> None:
    found = table(gpu1={"clock": GOOD, "torch": GOOD}, gpu2={"clock": GOOD, "torch": BAD})
    assert found.remarkable() == ("torch",)
    assert "clock" not in found.render(found.remarkable())


def test_a_check_that_was_not_made_leaves_a_dash() -> None:
    found = table(gpu1={"answer": GOOD, "torch": GOOD}, gpu2={"answer": BAD})
    assert found.render().splitlines()[2].split() == ["gpu2", "!", "2.12", "-"]


def test_of_many_nodes_the_bad_ones_are_shown_first() -> None:
    rows = {f"gpu{number:03}": {"torch": GOOD} for number in range(100)}
    rows["gpu077"] = {"torch": BAD}
    lines = table(**rows).render().splitlines()
    assert lines[1].startswith("gpu077")
    assert "... and 68 more nodes" in lines
