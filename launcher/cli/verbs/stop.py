"""`stop`: let a run save and leave, from any machine that sees its folder."""

from __future__ import annotations

from launcher import runs
from launcher.cli import typed
from launcher.cli.arguments import Invocation
from launcher.cli.folders import run_folder, storage_root


def main(invocation: Invocation) -> int:
    """Leave a request in the run's folder; its supervisor looks about once a second."""
    layout = run_folder(invocation)
    status = runs.read_status(layout)
    where = typed.storage_override(str(storage_root(invocation)))
    if not status.supervisor_alive:
        print(f"{layout.run_id} is not running: it is {status.state}")
        return 0
    runs.request_stop(layout)
    print(f"asked {layout.run_id} to save and leave ({status.supervisor})")
    print(f"watch it:  {typed.of_run('status', layout.run_id, where)} --follow")
    print(f"go on:     {typed.of_run('resume', layout.run_id, where)}")
    return 0
