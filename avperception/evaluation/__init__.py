"""How good results are against exact ground truth: boxes in 2D and 3D, and class masks. Free of ROS."""
