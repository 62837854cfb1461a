"""Sets up the project's virtual environment, one module a concern; `setup.run` is the way in."""
