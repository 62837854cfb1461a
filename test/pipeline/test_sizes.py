import pytest

from avperception.models import find_card
from avperception.pipeline.sizes import OBJECT_SIZES, group_of, size_of


@pytest.mark.parametrize("name", OBJECT_SIZES)
def test_sizes_are_those_of_things_on_a_road(name: str) -> None:
    size = OBJECT_SIZES[name]

    assert 0.3 < size.width <= size.length < 20 and 1 < size.height < 4.5 and 1 <= size.stretch <= 3


@pytest.mark.parametrize("name", ["car", "Car", "CAR"])
def test_upper_case_does_not_matter(name: str) -> None:
    assert size_of(name) is OBJECT_SIZES["car"]


def test_the_road_users_of_the_detectors_card_are_known() -> None:
    classes = find_card("yolox_nano").classes

    for name in ("person", "bicycle", "car", "motorbike", "bus", "train", "truck"):
        assert name in classes and size_of(name) is not None


def test_what_is_no_road_user_has_no_size_and_a_group_of_its_own() -> None:
    assert size_of("teddy bear") is None
    assert group_of("teddy bear") == "teddy bear"


def test_groups_are_what_cannot_stand_in_one_place() -> None:
    assert group_of("car") == group_of("truck") == group_of("bus") == group_of("van")
    assert group_of("person") == group_of("pedestrian")
    assert len({group_of(name) for name in ("car", "person", "bicycle", "train")}) == 4


def test_the_largest_of_a_class_is_longer_by_its_stretch_and_little_wider() -> None:
    truck = OBJECT_SIZES["truck"]

    length, width = truck.largest

    assert length == truck.length * truck.stretch
    assert truck.width < width < 1.5 * truck.width
    assert truck.longest == (length**2 + width**2) ** 0.5
