"""Where model cards and network files are, and whether a file is the one its card speaks of."""

from __future__ import annotations

import hashlib
import os
from enum import Enum
from functools import lru_cache
from pathlib import Path

from avperception.errors import ModelError
from avperception.models.card import ModelCard
from avperception.models.card_file import load_card
from avperception.paths import share_directory


class NetworkState(str, Enum):
    """How a card's network file is found on this machine."""

    READY = "ready"
    NOT_PULLED = "not pulled"
    ALTERED = "altered"


def model_directory() -> Path:
    """The user's folder of networks, and of cards of their own; it need not exist yet.

    `$AVPERCEPTION_MODELS`, else `avperception/models` in `$XDG_DATA_HOME` or `~/.local/share`.
    Raises ModelError when there is neither such a variable nor a home.
    """
    if chosen := os.environ.get("AVPERCEPTION_MODELS"):
        return Path(chosen).expanduser().absolute()
    # The XDG specification has a relative path ignored.
    if (data_home := os.environ.get("XDG_DATA_HOME", "")).startswith("/"):
        return Path(data_home) / "avperception" / "models"
    try:
        return Path.home() / ".local" / "share" / "avperception" / "models"
    except RuntimeError as error:
        raise ModelError(
            "this user has no home folder to keep networks in: set AVPERCEPTION_MODELS to a folder"
        ) from error


def card_directories() -> tuple[Path, ...]:
    """The folders with the cards that go by name; a card in a later one replaces its namesake before."""
    return share_directory() / "config" / "models", model_directory()


def card_paths() -> dict[str, Path]:
    """Every card that goes by name, sorted by it: `NAME.yaml` in one of `card_directories`."""
    found = {path.stem: path for folder in card_directories() for path in sorted(folder.glob("*.yaml"))}
    return dict(sorted(found.items()))


def find_card(name_or_path: str) -> ModelCard:
    """Load a card by its name, or by the path of its file when it has a slash or ends in .yaml.

    Raises ModelError, also for an unknown name; the known ones are listed then.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return load_card(Path(name_or_path).expanduser())
    paths = card_paths()
    if name_or_path not in paths:
        raise ModelError(
            f"there is no model {name_or_path!r}: known are {', '.join(paths)}; "
            "for a network of your own give the path of its card, such as ./my_network.yaml"
        )
    return load_named(paths[name_or_path])


def load_named(path: Path) -> ModelCard:
    """Load a card that goes by name; raises ModelError also if the name inside is another one."""
    card = load_card(path)
    if card.name != path.stem:
        raise ModelError(f"{path}: key `name` is {card.name!r}: it must be {path.stem}, the file's name")
    return card


def reference(card: ModelCard) -> str:
    """What a user types to mean this card: its name, or its path when it lies in no card folder."""
    return card.name if _goes_by_name(card) else str(card.path)


def pull_destination(card: ModelCard) -> Path:
    """Where the card's network is kept: the user's folder, or beside the card if that goes by path."""
    folder = model_directory() if _goes_by_name(card) else card.path.parent
    return folder / card.file


def network_path(card: ModelCard) -> Path | None:
    """The card's network file, unverified, or None: the user's, else one that came with the package."""
    for path in _candidates(card):
        if path.is_file():
            return path
    return None


def network_state(card: ModelCard) -> NetworkState:
    """Tell whether the card's network is there and the right one; raises ModelError if it cannot be read."""
    path = network_path(card)
    if path is None:
        return NetworkState.NOT_PULLED
    return NetworkState.READY if sha256_of(path) == card.sha256 else NetworkState.ALTERED


def locate(card: ModelCard) -> Path:
    """Give the path of the card's network, its sha256 verified; raises ModelError with the way to mend it."""
    path = network_path(card)
    if path is None:
        folders = " or ".join(str(candidate.parent) for candidate in _candidates(card))
        raise ModelError(f"network {card.file} of model {card.name} is not in {folders}: {how_to_get(card)}")
    found = sha256_of(path)
    if found != card.sha256:
        raise ModelError(
            f"{path} is not the network of model {card.name}: its sha256 is {short(found)}, "
            f"the card {card.path} says {short(card.sha256)}: {how_to_get(card)}"
        )
    return path


def how_to_get(card: ModelCard) -> str:
    """The command that brings the card's network here, as the end of an error message."""
    command = f"avperception models pull {reference(card)}"
    if card.source_url is None:
        return f"run `{command} --from FILE`, with your copy of it"
    return f"run `{command}`"


def sha256_of(path: Path) -> str:
    """Digest of a file in 64 hexadecimal digits, remembered until its size or time of change is another.

    Raises ModelError if it cannot be read.
    """
    try:
        status = path.stat()
        return _sha256(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"network {path} cannot be read: {error.strerror or error}") from error


def short(sha256: str) -> str:
    """The first 12 digits of a digest: enough to tell two files apart, and to find it in a list."""
    return f"{sha256[:12]}..."


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _candidates(card: ModelCard) -> tuple[Path, ...]:
    shipped = (share_directory() / "engines" / card.file,) if _goes_by_name(card) else ()
    return pull_destination(card), *shipped


def _goes_by_name(card: ModelCard) -> bool:
    # The folder is resolved, not the card: an installation may be a folder of links to the source tree.
    folder = card.path.parent.resolve()
    return any(folder == directory.resolve() for directory in card_directories())
