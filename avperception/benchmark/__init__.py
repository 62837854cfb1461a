"""How long frames take on this machine, against its own limit and against the usual ways. Free of ROS."""

from avperception.benchmark.options import BenchmarkOptions, Subject, street_images
from avperception.benchmark.run import run_benchmark

__all__ = ["BenchmarkOptions", "Subject", "run_benchmark", "street_images"]
