"""Real-time camera and lidar perception for ROS 2: detection, segmentation, lanes and 3D fusion."""

__version__ = "0.1.0"
