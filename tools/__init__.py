"""Scripts for developers: set-up, training, checks on a GPU."""
