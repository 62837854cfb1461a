"""Parts of check_engines_on_gpu.py."""
