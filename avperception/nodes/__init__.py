"""The ROS 2 side: nodes, conversions between messages and the package's own types, diagnostics."""
