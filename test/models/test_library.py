import os
from pathlib import Path

import pytest

from avperception.errors import ModelError
from avperception.models import card_paths, find_card, locate, model_directory
from avperception.models.library import NetworkState, network_state, pull_destination
from avperception.paths import share_directory


def test_the_models_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("AVPERCEPTION_MODELS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert model_directory() == Path("/home/ada/.local/share/avperception/models")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert model_directory() == Path("/home/ada/.local/share/avperception/models")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert model_directory() == Path("/data/avperception/models")
    monkeypatch.setenv("AVPERCEPTION_MODELS", "~/networks")
    assert model_directory() == Path("/home/ada/networks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVPERCEPTION_MODELS", "here")
    assert model_directory() == tmp_path / "here"


def test_shipped_cards_are_found_by_name(model_folder):
    assert {"twinlitenet", "yolox_nano"} <= set(card_paths())
    assert find_card("yolox_nano").task == "detection"


def test_an_unknown_name_lists_the_known_ones(model_folder, write_card):
    write_card(model_folder, "mine")
    with pytest.raises(ModelError, match=r"no model 'yolo'.*mine.*twinlitenet.*yolox_nano.*path of its card"):
        find_card("yolo")


def test_a_card_in_the_users_folder_goes_by_name_and_replaces_its_namesake(model_folder, write_card):
    write_card(model_folder, "mine")
    write_card(model_folder, "yolox_nano")
    assert find_card("mine").classes == ("car",)
    assert find_card("yolox_nano").classes == ("car",)
    assert card_paths()["yolox_nano"].parent == model_folder


def test_a_card_that_goes_by_name_carries_that_name(model_folder, write_card):
    write_card(model_folder, "mine").rename(model_folder / "other.yaml")
    with pytest.raises(ModelError, match=r"other\.yaml: key `name` is 'mine': it must be other"):
        find_card("other")


def test_a_card_given_by_path_has_its_network_beside_it(model_folder, write_card, tmp_path, monkeypatch):
    own = tmp_path / "own"
    path = write_card(own, "mine")
    (own / "mine.onnx").write_bytes(b"network")
    assert locate(find_card(str(path))) == own / "mine.onnx"
    monkeypatch.chdir(own)
    assert locate(find_card("mine.yaml")) == own / "mine.onnx"
    monkeypatch.setenv("HOME", str(own))
    assert locate(find_card("~/mine.yaml")) == own / "mine.onnx"
    assert pull_destination(find_card("mine.yaml")) == own / "mine.onnx"


def test_a_shipped_card_given_by_path_is_the_shipped_card(model_folder):
    card = find_card(str(share_directory() / "config" / "models" / ".." / "models" / "yolox_nano.yaml"))
    assert pull_destination(card) == model_folder / "yolox_nano_416.onnx"


def test_a_network_that_came_with_the_package_is_found(model_folder, write_card, monkeypatch, tmp_path):
    share = tmp_path / "share"
    write_card(share / "config" / "models", "shipped", b"network")
    (share / "engines").mkdir()
    (share / "engines" / "shipped.onnx").write_bytes(b"network")
    monkeypatch.setattr("avperception.models.library.share_directory", lambda: share)
    card = find_card("shipped")
    assert locate(card) == share / "engines" / "shipped.onnx"
    model_folder.mkdir()
    (model_folder / "shipped.onnx").write_bytes(b"network")
    assert locate(card) == model_folder / "shipped.onnx"


def test_a_missing_network_is_an_error_with_the_command_that_gets_it(model_folder, write_card, tmp_path):
    card = find_card("yolox_nano")
    assert network_state(card) is NetworkState.NOT_PULLED
    with pytest.raises(
        ModelError, match=r"not in .*networks or .*: run `avperception models pull yolox_nano`$"
    ):
        locate(card)
    path = write_card(tmp_path / "own")
    with pytest.raises(ModelError, match=rf"run `avperception models pull {path} --from FILE`"):
        locate(find_card(str(path)))


def test_an_altered_network_is_an_error_with_both_digests(model_folder, write_card):
    card = find_card(str(write_card(model_folder, "mine", b"network")))
    network = model_folder / "mine.onnx"
    network.write_bytes(b"network")
    assert locate(card) == network
    assert network_state(card) is NetworkState.READY
    status = network.stat()
    network.write_bytes(b"netw0rk")  # as long as before, and seen although the digest was remembered
    os.utime(network, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert network_state(card) is NetworkState.ALTERED
    # The digests are what `printf network | sha256sum` says.
    mend = "run `avperception models pull mine --from FILE`"
    with pytest.raises(ModelError, match=f"sha256 is 5d50123d58a2.*says 3009be769fb8.*{mend}"):
        locate(card)


def test_a_folder_in_the_networks_place_is_no_network(model_folder, write_card):
    card = find_card(str(write_card(model_folder)))
    (model_folder / "mine.onnx").mkdir()
    with pytest.raises(ModelError, match="not in"):
        locate(card)
