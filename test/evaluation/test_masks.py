import numpy as np
import pytest

from avperception.evaluation.masks import MaskScore
from avperception.types import UNLABELLED

NAMES = ("road", "car", "background")


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def score_of(labels: np.ndarray, truth: np.ndarray, label_names: tuple[str, ...] = NAMES) -> MaskScore:
    score = MaskScore(NAMES)
    score.add(labels, label_names, truth)
    return score


def test_the_same_mask_is_one() -> None:
    same = mask([0, 1, 2], [0, 0, 2])

    assert score_of(same, same).iou() == {"road": 1.0, "car": 1.0, "background": 1.0}
    assert score_of(same, same).miou() == 1.0


def test_the_overlap_is_counted_in_pixels() -> None:
    """Road: 2 of 3 + 1; car: 1 of 1 + 1; background: untouched."""
    score = score_of(mask([0, 0, 1, 0, 2]), mask([0, 0, 0, 1, 2]))

    assert score.iou() == pytest.approx({"road": 2 / 4, "car": 0.0, "background": 1.0})
    assert score.miou() == pytest.approx(0.5)


def test_pixels_are_summed_over_images_before_the_share_is_taken() -> None:
    score = MaskScore(NAMES)
    score.add(mask([0, 0, 0, 0]), NAMES, mask([0, 0, 0, 0]))
    score.add(mask([1]), NAMES, mask([0]))

    assert score.iou()["road"] == pytest.approx(4 / 5)


def test_classes_go_by_name_and_unknown_ones_are_background() -> None:
    score = score_of(mask([0, 1, 2]), mask([1, 0, 2]), ("car", "road", "tree"))

    assert score.miou() == 1.0


def test_pixels_without_truth_are_left_out_and_those_without_a_label_are_background() -> None:
    score = score_of(mask([0, 1, UNLABELLED]), mask([0, UNLABELLED, 2]))

    assert score.iou() == {"road": 1.0, "background": 1.0}


def test_a_class_that_does_not_occur_does_not_weigh() -> None:
    assert set(score_of(mask([0, 2]), mask([0, 2])).iou()) == {"road", "background"}


def test_before_the_first_image_there_is_no_mean() -> None:
    assert MaskScore(NAMES).miou() is None
