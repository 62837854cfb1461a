"""Pictures of results, for people: overlays on the image and a bird's-eye view. Free of ROS."""
