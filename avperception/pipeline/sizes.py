"""What sizes the classes have: a lidar sees one or two sides of an object, the rest is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.types import Float64

WIDTH_STRETCH = 1.3
"""How much wider than typical an object may be."""


@dataclass(frozen=True)
class ObjectSize:
    """Typical `length`, `width`, `height` [m] of a class, and how far beyond them an object may measure.

    Objects of one `group` cannot stand in the same place, so that two boxes there are one object.
    `compact` objects are too small for their heading to be read from the points.
    """

    group: str
    length: float
    width: float
    height: float
    stretch: float = 1.5
    compact: bool = False

    @property
    def largest(self) -> Float64:
        """Greatest length and width (2,) of the class [m]; widths vary less, for lanes are of one width."""
        return np.array([self.length * self.stretch, self.width * min(self.stretch, WIDTH_STRETCH)])

    @property
    def longest(self) -> float:
        """Greatest diagonal of its outline on the ground [m]."""
        return float(np.hypot(*self.largest))


# Means of the public statistics of nuScenes (Caesar et al., CVPR 2020) and KITTI (Geiger et al., CVPR
# 2012), rounded to 5 cm and, where the two differ, in between.
_CAR = ObjectSize("vehicle", 4.3, 1.85, 1.6)
_VAN = ObjectSize("vehicle", 5.1, 1.95, 2.2)
_TRUCK = ObjectSize("vehicle", 7.0, 2.5, 2.9, stretch=2.2)
_BUS = ObjectSize("vehicle", 11.0, 2.9, 3.4, stretch=1.7)
_TRAIN = ObjectSize("rail", 15.0, 2.7, 3.6, stretch=3.0)
_CYCLIST = ObjectSize("two_wheeler", 1.75, 0.6, 1.75)
_BICYCLE = ObjectSize("two_wheeler", 1.7, 0.6, 1.25)
_MOTORCYCLE = ObjectSize("two_wheeler", 2.1, 0.75, 1.45)
_PERSON = ObjectSize("person", 0.7, 0.65, 1.75, compact=True)

OBJECT_SIZES: dict[str, ObjectSize] = {
    "car": _CAR,
    "van": _VAN,
    "truck": _TRUCK,
    "bus": _BUS,
    "train": _TRAIN,
    "tram": _TRAIN,
    "cyclist": _CYCLIST,
    "bicycle": _BICYCLE,
    "motorbike": _MOTORCYCLE,
    "motorcycle": _MOTORCYCLE,
    "person": _PERSON,
    "pedestrian": _PERSON,
    "rider": _PERSON,
}


def size_of(class_name: str) -> ObjectSize | None:
    """Give the size known for a class, None for a class that the table does not have."""
    return OBJECT_SIZES.get(class_name.lower())


def group_of(class_name: str) -> str:
    """Name the group of classes of which only one can stand in one place; a class unknown is its own."""
    size = size_of(class_name)
    return size.group if size else class_name
