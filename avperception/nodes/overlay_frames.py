"""Brings together what belongs to one image of a camera, so that it can be drawn over it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from avperception.nodes.conversions.results import DetectedObjects, LaneLines
from avperception.types import Detections2D, UInt8

PATIENCE_NS = 1_000_000_000
"""How long an image with its 2D detections waits for its mask and the sweep after it, on the wall clock."""

NEAR_NS = 100_000_000
"""Objects in 3D and lane lines farther in time from an image are not drawn on it."""

LIDAR_SILENT_NS = 2_000_000_000
"""When no sweep has led to objects for this long, on the wall clock, no image waits for one."""

FRAMES_KEPT = 10
SWEEPS_KEPT = 10


@dataclass
class OverlayFrame:
    """One image message and what was found on it; `mask` is (height, width) class ids."""

    stamp_ns: int
    image: Any = None
    detected_ns: int = 0
    detections: Detections2D | None = None
    mask: UInt8 | None = None
    objects: DetectedObjects | None = None
    lanes: LaneLines | None = None


class FrameGatherer:
    """Collects images and results of one camera by stamp and gives each image once it is complete.

    An image is complete with its 2D detections, with its mask if `has_masks`, and when 3D objects of its
    time or later have come, so that the boxes drawn are those nearest to it and do not trail behind;
    without mask or objects it goes out PATIENCE_NS after those. Images that were overtaken are forgotten.
    Stamps that go backwards start all anew. Times named `now_ns` are the wall clock's.
    """

    def __init__(self) -> None:
        self.has_masks = False
        self.clear()

    def clear(self) -> None:
        """Forget everything, for nobody looks any more."""
        self._frames: dict[int, OverlayFrame] = {}
        self._image_ns = 0
        self._objects: deque[DetectedObjects] = deque(maxlen=SWEEPS_KEPT)
        self._objects_arrived_ns: int | None = None
        self._lanes: LaneLines | None = None

    def add_image(self, stamp_ns: int, image: Any) -> None:
        """An image has come."""
        if stamp_ns < self._image_ns:
            self._frames, self._lanes = {}, None
            while self._objects and self._objects[-1].stamp_ns > stamp_ns + NEAR_NS:
                self._objects.pop()
        self._image_ns = stamp_ns
        self._frame(stamp_ns).image = image

    def add_detections(self, stamp_ns: int, detections: Detections2D, now_ns: int) -> None:
        """The 2D detections of an image have come; on their own topic they may overtake it."""
        frame = self._frame(stamp_ns)
        frame.detections, frame.detected_ns = detections, now_ns

    def add_mask(self, stamp_ns: int, mask: UInt8) -> None:
        """The class mask of an image has come."""
        self._frame(stamp_ns).mask = mask

    def add_objects(self, objects: DetectedObjects, now_ns: int) -> None:
        """The 3D objects of a sweep have come."""
        if self._objects and objects.stamp_ns < self._objects[-1].stamp_ns:
            self._objects.clear()
        self._objects.append(objects)
        self._objects_arrived_ns = now_ns

    def add_lanes(self, lanes: LaneLines) -> None:
        """Lane lines of an image have come."""
        self._lanes = lanes

    def take(self, now_ns: int) -> OverlayFrame | None:
        """Give the newest image that is complete, and forget those before it; None if there is none."""
        complete = [stamp for stamp, frame in self._frames.items() if self._is_complete(frame, now_ns)]
        if not complete:
            return None
        stamp_ns = max(complete)
        frame = self._frames[stamp_ns]
        self._frames = {stamp: kept for stamp, kept in self._frames.items() if stamp > stamp_ns}
        near = [objects for objects in self._objects if abs(objects.stamp_ns - stamp_ns) <= NEAR_NS]
        frame.objects = min(near, key=lambda objects: abs(objects.stamp_ns - stamp_ns), default=None)
        if self._lanes is not None and abs(self._lanes.stamp_ns - stamp_ns) <= NEAR_NS:
            frame.lanes = self._lanes
        return frame

    def _frame(self, stamp_ns: int) -> OverlayFrame:
        frame = self._frames.setdefault(stamp_ns, OverlayFrame(stamp_ns))
        while len(self._frames) > FRAMES_KEPT:
            del self._frames[min(self._frames)]
        return frame

    def _is_complete(self, frame: OverlayFrame, now_ns: int) -> bool:
        if frame.image is None or frame.detections is None:
            return False
        if now_ns - frame.detected_ns >= PATIENCE_NS:
            return True
        if self.has_masks and frame.mask is None:
            return False
        arrived_ns = self._objects_arrived_ns
        if arrived_ns is None or now_ns - arrived_ns > LIDAR_SILENT_NS or not self._objects:
            return True
        return self._objects[-1].stamp_ns >= frame.stamp_ns
