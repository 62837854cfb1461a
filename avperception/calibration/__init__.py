"""Calibration sets: images that cover the conditions a network will meet, and what lies outside of them."""

from avperception.calibration.coverage import Coverage
from avperception.calibration.set import CalibrationSet
from avperception.calibration.statistics import ImageStatistics, image_statistics

__all__ = ["CalibrationSet", "Coverage", "ImageStatistics", "image_statistics"]
