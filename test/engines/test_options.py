import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.engines.options import (
    CURRENT,
    CompilerOptions,
    Profile,
    parse_profiles,
    parse_targets,
    target_text,
)
from avperception.errors import ConfigurationError

CAPABILITIES = st.tuples(st.integers(1, 99), st.integers(0, 9)).map(lambda pair: f"{pair[0]}.{pair[1]}")
SHAPES = st.lists(st.integers(1, 4096), min_size=1, max_size=5).map(tuple)


def test_targets_are_read_in_every_usual_spelling_and_sorted():
    assert parse_targets("sm89,SM_86, 12.0,sm86") == ("8.6", "8.9", "12.0")
    assert parse_targets("current") == CURRENT
    assert target_text(("8.6", "12.0")) == "sm86,sm120"
    assert target_text(CURRENT) == "current"


@given(st.sets(CAPABILITIES, min_size=1))
def test_what_is_printed_is_read_back(capabilities: set[str]):
    targets = parse_targets(",".join(capabilities))
    assert set(targets) == capabilities
    assert parse_targets(target_text(targets)) == targets


@given(st.text())
def test_any_text_is_targets_or_one_clear_error(text: str):
    try:
        targets = parse_targets(text)
    except ConfigurationError as error:
        targets, message = (), str(error)
    assert all(target in CURRENT or "." in target for target in targets)
    assert targets or "sm86,sm89" in message


@pytest.mark.parametrize("text", ["", "sm", "sm8", "86", "current,sm86", "ampere", "sm86,,sm89", "8.66"])
def test_what_is_no_target_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="--target is"):
        parse_targets(text)


@given(SHAPES)
def test_profiles_are_read_back(shape: tuple[int, ...]):
    usual, largest = (tuple(size + more for size in shape) for more in (1, 2))
    text = ",".join("x".join(map(str, sizes)) for sizes in (shape, usual, largest))
    assert parse_profiles([f"in=put={text}"]) == {"in=put": Profile(shape, usual, largest)}


@pytest.mark.parametrize(
    "text",
    [
        "images", "images=1x3", "=1x3,1x3,1x3", "images=1x3,1x3", "images=1x3,1x3,axb", "images=0x3,1x3,1x3",
        "images=2x3,1x3,4x3", "images=1x3,1x3,1x3x4", "images=1x3,5x3,4x3",
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="--shape is"):
        parse_profiles([text])


def test_options_out_of_range_are_refused():
    for wrong, name in [
        ({"workspace_mib": 0}, "--workspace"),
        ({"optimization_level": 6}, "--optimization-level"),
        ({"optimization_level": -1}, "--optimization-level"),
        ({"dla_core": -1}, "--dla"),
    ]:
        with pytest.raises(ConfigurationError, match=name):
            CompilerOptions(**wrong)  # type: ignore[arg-type]
