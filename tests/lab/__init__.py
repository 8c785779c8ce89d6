"""A cluster on one machine: hosts that are namespaces, with network, disks, ssh and Slurm."""

from tests.lab.commands import LabError
from tests.lab.host import HostProcess, Process
from tests.lab.lab import Lab
from tests.lab.needs import why_not

__all__ = ["HostProcess", "Lab", "LabError", "Process", "why_not"]
