"""The scene in Rerun, a viewer that goes back and forth in time. Free of ROS."""
