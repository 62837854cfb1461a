"""What a machine needs to run avperception, looked at one by one."""

from collections.abc import Iterator

from avperception.doctor.finding import Finding, State
from avperception.doctor.gpu import chosen_flavour, examine_cuda, examine_gpu, examine_runtimes
from avperception.doctor.networks import examine_engines, examine_models
from avperception.doctor.ros import examine_python, examine_ros
from avperception.engines.machine import Machine, current_machine

__all__ = ["Finding", "State", "examine"]


def examine() -> Iterator[Finding]:
    """Look at Python, ROS 2 and its transport, the GPU, the runtimes, every model and every engine."""
    with chosen_flavour() as problems:
        machine = current_machine()
        yield from examine_python()
        yield from examine_ros()
        yield from examine_gpu(machine)
        yield from examine_cuda(machine)
        yield from problems
        yield from _examine_networks(machine)


def _examine_networks(machine: Machine) -> Iterator[Finding]:
    yield from examine_runtimes(machine)
    yield from examine_models()
    yield from examine_engines(machine)
