"""The stages between a sensor's message and the published result; none of them knows ROS."""
