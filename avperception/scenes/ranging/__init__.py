"""The lidar: its turn, its rays and what they meet."""
