"""The perception node: camera images and lidar sweeps in, 2D and fused 3D detections out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from tf2_msgs.msg import TFMessage

from avperception.errors import AvperceptionError, ConfigurationError, TransformError
from avperception.nodes import qos
from avperception.nodes.camera_channel import CameraChannel
from avperception.nodes.clocks import steady_clock
from avperception.nodes.conversions.headers import header_message
from avperception.nodes.diagnostics import diagnostic_array
from avperception.nodes.ego_motion import EgoMotion
from avperception.nodes.endpoints import check_types
from avperception.nodes.fusion_stage import FusionStage
from avperception.nodes.health import HealthMonitor
from avperception.nodes.input import Input
from avperception.nodes.lidar_channel import LidarChannel
from avperception.nodes.networks import networks_of
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.process import run_node
from avperception.nodes.source import Source
from avperception.nodes.transforms import TransformTree, make_transform_tree
from avperception.pipeline.camera import CameraPipeline
from avperception.types import CameraResult, FusedResult, Image

EXPIRY_PERIOD_S = 0.02
DIAGNOSTICS_PERIOD_S = 1.0


class PerceptionNode(LifecycleNode):
    """Lifecycle node: configure loads the networks and allocates, activate subscribes.

    `on_camera` and `on_fused` are called with each result on the thread that made it, just before the
    outputs are published; replay uses them to draw. Without `on_camera` images are segmented only while
    somebody subscribes to what comes of it.
    """

    def __init__(
        self,
        *,
        cli_args: Sequence[str] | None = None,
        parameter_overrides: Sequence[Parameter] | None = None,
        on_camera: Callable[[CameraResult, Image], None] | None = None,
        on_fused: Callable[[FusedResult], None] = lambda result: None,
    ) -> None:
        super().__init__(
            "perception",
            cli_args=list(cli_args) if cli_args else None,
            parameter_overrides=list(parameter_overrides) if parameter_overrides else None,
        )
        self._observe_camera = on_camera
        self._observe_fused = on_fused
        self._settings = NodeParameters(self)
        self._transforms: TransformTree = make_transform_tree()
        self.transform_source = Source("tf", self.get_logger())
        self.cameras: list[CameraChannel] = []
        self.lidar: LidarChannel | None = None
        self.fusion: FusionStage | None = None
        self._engines: dict[str, str] = {}
        self._failure: Exception | None = None
        # In every state: a transform that is static comes once.
        self.transform_inputs = (
            Input(self, TFMessage, "/tf_static", self._on_static, qos.static_transforms(), is_shared=True),
            Input(self, TFMessage, "/tf", self._on_moving, qos.transforms(), is_shared=True),
        )
        self.health = HealthMonitor(
            self, self._settings.cameras, self.transform_source, self.transform_inputs
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", qos.result(), qos_overriding_options=qos.overridable()
        )
        for entry in self.transform_inputs:
            entry.start()
        steady = steady_clock()
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)
        self._expiry = self.create_timer(EXPIRY_PERIOD_S, self._expire)
        # On simulated time a timer may skip moments: each step of the clock is looked at, so that a
        # replay gives the same sets on a fast and on a slow machine.
        threshold = JumpThreshold(
            min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jump_handle = self.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def autostart(self) -> None:
        """Configure and activate, if the parameter says so; raises AvperceptionError when that fails."""
        if not self._settings["autostart"]:
            return
        for step in (self.trigger_configure, self.trigger_activate):
            if step() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or AvperceptionError(f"{step.__name__} of the perception node failed")

    # -- lifecycle --------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the networks and make every stage."""
        try:
            self._build()
        except Exception as error:  # rclpy would swallow it without a word
            self._failure = error
            self._tear_down()
            self.get_logger().error(f"configure failed: {error}")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish from now on, and subscribe."""
        try:
            for entry in self.inputs:
                entry.start()
        except ConfigurationError as error:  # rclpy would swallow it without a word
            self._failure = error
            for entry in self.inputs:
                entry.stop()
            self.get_logger().error(f"activate failed: {error}")
            return TransitionCallbackReturn.FAILURE
        done = super().on_activate(state)
        self.health.start()
        self.get_logger().info(
            f"active: cameras {', '.join(c.name for c in self.cameras) or 'none'}; "
            + "; ".join(f"{role} {engine}" for role, engine in self._engines.items())
        )
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and publish no more."""
        for entry in self.inputs:
            entry.stop()
        self.health.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the networks and stages."""
        self._tear_down()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything."""
        self._tear_down()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Stop the threads before the node goes; after this no other node sees it any more."""
        self._tear_down()
        self._jump_handle.unregister()
        super().destroy_node()
        # rclpy keeps its state machine, and that the node, until a garbage collection that may never come.
        self.__dict__.pop("_state_machine", None)

    # -- what others look at ----------------------------------------------------------------------

    @property
    def inputs(self) -> list[Input]:
        """All sensor subscriptions, existing while the node is active."""
        own = [entry for camera in self.cameras for entry in camera.inputs]
        return own + ([self.lidar.input] if self.lidar else [])

    @property
    def outputs(self) -> list[Output]:
        """All result topics, existing while the node is configured."""
        own = [output for camera in self.cameras for output in camera.outputs]
        return own + (list(self.fusion.outputs) if self.fusion else [])

    @property
    def sources(self) -> list[Source]:
        """The counters of every kind of message that comes in."""
        own = [source for camera in self.cameras for source in (camera.source, camera.info_source)]
        return [*own, *([self.lidar.source] if self.lidar else []), self.transform_source]

    @property
    def all_sources(self) -> list[Source]:
        """The counters of all that comes in and of what is fused from it."""
        return self.sources + ([self.fusion.source] if self.fusion else [])

    @property
    def is_idle(self) -> bool:
        """True when every message received so far has led to its result or loss (sweeps may wait still)."""
        # In the order in which work is handed on: what leaves one stage is seen in the next.
        stages = [*self.cameras, self.lidar, self.fusion]
        return all(stage.is_idle for stage in stages if stage is not None)

    # -- inside -----------------------------------------------------------------------------------

    def _build(self) -> None:
        networks = networks_of(self._settings)
        self._engines = {
            role: f"{network.card.name} on {network.engine.description}"
            for role, network in networks.by_role.items()
            if network
        }
        if networks.why_cpu:
            self.get_logger().info(f"the networks run on the CPU: {networks.why_cpu}")
        self.fusion = FusionStage(self, self._settings, self._on_fused)
        ego_motion = EgoMotion(
            self._transforms,
            str(self._settings["target_frame"]),
            str(self._settings["fusion.fixed_frame"]),
            self.fusion.source,
            self.get_logger(),
        )
        self.cameras = [
            CameraChannel(
                self,
                self._settings,
                CameraPipeline(
                    name, networks.detector, networks.segmenter, self._settings.detector, networks.device
                ),
                ego_motion,
                self.fusion,
                self._on_camera,
                always_segment=self._observe_camera is not None,
            )
            for name in self._settings.cameras
        ]
        self.fusion.connect({camera.name: camera for camera in self.cameras})
        self.lidar = LidarChannel(self, self._settings, self._transforms, self.fusion, networks.device)
        check_types([*self.inputs, *self.outputs])
        self.health.build(self.cameras, self.lidar, self.fusion, networks)

    def _on_camera(self, result: CameraResult, image: Image) -> None:
        self.health.on_camera(result, image)
        if self._observe_camera:
            self._observe_camera(result, image)

    def _on_fused(self, result: FusedResult) -> None:
        self.health.on_fused(result)
        self._observe_fused(result)

    def _tear_down(self) -> None:
        stages = [*self.cameras, self.lidar, self.fusion]
        self.cameras, self.lidar, self.fusion = [], None, None
        for stage in stages:
            if stage is not None:
                stage.stop()
        self.health.release()

    def _on_static(self, message: TFMessage) -> None:
        self._on_transforms(message, static=True)

    def _on_moving(self, message: TFMessage) -> None:
        self._on_transforms(message, static=False)

    def _on_transforms(self, message: TFMessage, static: bool) -> None:
        self.transform_source.receive()
        for transform in message.transforms:
            try:
                self._transforms.add(transform, static)
            except TransformError as error:
                self.transform_source.drop("bad_transform", str(error))
        self._expire()

    def _on_jump(self, jump: TimeJump) -> None:
        is_same_clock = jump.clock_change in (
            ClockChange.ROS_TIME_NO_CHANGE,
            ClockChange.SYSTEM_TIME_NO_CHANGE,
        )
        if not is_same_clock or jump.delta.nanoseconds < 0:
            now_ns = self.get_clock().now().nanoseconds
            if self.lidar:
                self.lidar.restart_clock(now_ns)
            if self.fusion:
                self.fusion.restart_clock(now_ns)
            self._transforms.restart(now_ns)
        self._expire()

    def _expire(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        if self.lidar:
            self.lidar.retry(now_ns)
        if self.fusion:
            self.fusion.expire(now_ns)

    def _publish_diagnostics(self) -> None:
        header = header_message(self.get_clock().now().nanoseconds, "")
        self._diagnostics.publish(diagnostic_array(header, self.health.statuses()))


def main(args: list[str] | None = None) -> None:
    """Run the node until Ctrl-C or a shutdown; exit code 2 when it cannot start."""
    run_node("perception", PerceptionNode, args=args, begin=PerceptionNode.autostart)
