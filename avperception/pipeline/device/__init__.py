"""Where a frame's work runs: the only place in which the host and a GPU differ."""

from avperception.pipeline.device.cpu import CpuDevice
from avperception.pipeline.device.device import Delivery, Device, Frame, FrameRunner, MakeMemory, Work

__all__ = ["CpuDevice", "Delivery", "Device", "Frame", "FrameRunner", "MakeMemory", "Work"]
