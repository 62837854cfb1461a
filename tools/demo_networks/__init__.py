"""The package's own two small networks: their architecture, training data, losses and export (PyTorch)."""
