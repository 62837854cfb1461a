"""What a network is: its card, where its file is, and whether the two agree."""

from avperception.models.card import DecoderSpec, InputSpec, ModelCard
from avperception.models.card_file import load_card
from avperception.models.check import check_network
from avperception.models.library import card_paths, find_card, locate, model_directory
from avperception.models.store import pull

__all__ = [
    "DecoderSpec",
    "InputSpec",
    "ModelCard",
    "card_paths",
    "check_network",
    "find_card",
    "load_card",
    "locate",
    "model_directory",
    "pull",
]
