"""Pure array functions: `cpu` is the reference, written in NumPy and OpenCV."""
