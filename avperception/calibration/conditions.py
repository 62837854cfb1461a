"""Which light and weather an image shows, guessed from its statistics: rules of thumb, not a classifier.

The thresholds come from looking at synthetic scenes of every condition, KITTI and a motorway by day. A
night in a lit city, a wet road under a blue sky or a bright tunnel will be taken for something else: the
guess is good enough to say that a set holds nothing like a night, not to sort recordings.
"""

from __future__ import annotations

from avperception.calibration.statistics import ImageStatistics

CONDITIONS: tuple[str, ...] = ("day", "dusk", "night", "tunnel", "glare", "rain or fog", "blurred")

MISSING_BELOW = 0.02
"""A condition with a smaller share of a set is called missing from it."""

ADVICE = {
    "day": "frames by daylight",
    "dusk": "frames at dusk or dawn, or under dense shade",
    "night": "frames at night, with headlights and street lamps",
    "tunnel": "frames inside a tunnel, and at its mouths",
    "glare": "frames against a low sun",
    "rain or fog": "frames in rain, fog or spray",
    "blurred": "frames through a wet, dirty or fogged lens",
}
"""What to record where a condition is missing; `blurred` is of use only if such images are to be handled."""


def condition_of(image: ImageStatistics) -> str:
    """Guess the condition, one of CONDITIONS, the first rule that fits."""
    if image.bright_share >= 0.2:
        return "glare"
    # The headlights' road under a black sky; inside a tunnel's mouth the difference is smaller.
    if image.brightness < 0.4 and image.sky_lift < -0.3 and image.contrast >= 0.2:
        return "night"
    if image.brightness < 0.33:
        return _dark_condition(image)
    if image.sharpness < 0.35:
        return "blurred"
    if _is_flat_and_grey(image):
        return "rain or fog"
    return "day"


def _dark_condition(image: ImageStatistics) -> str:
    # A tunnel is lit evenly, so hardly anything is black; at night the sky is, and the road is lit.
    if image.contrast < 0.1 and image.brightness >= 0.1:
        return "tunnel"
    if image.brightness < 0.12 or (image.dark_share >= 0.03 and image.sky_lift < 0.05):
        return "night"
    if image.sky_lift < -0.05:
        return "tunnel"
    if image.brightness >= 0.3 and _is_flat_and_grey(image):
        return "rain or fog"
    # Deep shade by day goes with an overexposed sky.
    return "dusk" if image.bright_share < 0.02 else "day"


def _is_flat_and_grey(image: ImageStatistics) -> bool:
    if image.bright_share >= 0.02:
        return False
    return (image.colourfulness < 0.097 and image.contrast < 0.17) or (
        image.colourfulness < 0.07 and image.contrast < 0.19
    )
