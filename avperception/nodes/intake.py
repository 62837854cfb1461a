"""How large messages come in: taken as bytes, without Python's lock, and decoded where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.waitable import NumberOfEntities, Waitable
from rosbags.serde import SerdeError

from avperception.bags.definitions import typestore
from avperception.errors import MessageError
from avperception.nodes.endpoints import type_name
from avperception.nodes.message_memory import DeviceMemory
from avperception.nodes.serialized import Rcl
from avperception.pipeline.device import MakeMemory


class LeftAlone(CallbackGroup):
    """The group of subscriptions from which the executor takes nothing: an `Intake` does."""

    def can_execute(self, entity: Any) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing has begun."""


class Intake(Waitable):
    """Takes the messages of one subscription, which is of a `LeftAlone` group, in the node's executor.

    `callback` gets each with the fields of its type; arrays of numbers are NumPy's and look at the message's
    bytes, which lie in the memory that `make_memory` makes, or else in rcl's. `on_bad` gets what cannot be
    taken or read.
    """

    def __init__(
        self,
        node: Node,
        subscription: Subscription,
        rcl: Rcl,
        callback: Callable[[Any], None],
        on_bad: Callable[[MessageError], None],
        make_memory: MakeMemory | None = None,
    ) -> None:
        super().__init__(node.default_callback_group)
        self._node = node
        self._subscription = subscription
        self._rcl = rcl
        self._memory = DeviceMemory(make_memory) if make_memory else None
        self._callback = callback
        self._on_bad = on_bad
        # rclpy declares the class as if it were a message.
        message_type: Any = subscription.msg_type
        self._type = type_name(message_type)
        self._index = 0
        node.add_waitable(self)

    def destroy(self) -> None:
        """Take nothing any more; before the subscription goes."""
        self._node.remove_waitable(self)

    def __enter__(self) -> None:
        self._subscription.handle.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._subscription.handle.__exit__(*raised)

    def get_num_entities(self) -> NumberOfEntities:
        """One subscription."""
        return NumberOfEntities(num_subs=1)

    def add_to_wait_set(self, wait_set: Any) -> None:
        """Wait for the subscription."""
        self._index = wait_set.add_subscription(self._subscription.handle)

    def is_ready(self, wait_set: Any) -> bool:
        """Whether a message is there."""
        return bool(wait_set.is_ready("subscription", self._index))

    def take_data(self) -> Any:
        """Give the next message, None if there is none that can be used."""
        try:
            data = self._rcl.take(self._subscription, self._memory)
            return None if data is None else typestore().deserialize_cdr(data.data, self._type)
        except SerdeError as error:
            self._on_bad(MessageError("malformed", f"a message cannot be read: {error}"))
        except MessageError as error:
            self._on_bad(error)
        return None

    async def execute(self, taken_data: Any) -> None:
        """Hand a message over."""
        if taken_data is not None:
            self._callback(taken_data)
