"""Outside libraries that stand beside our system in `quality.py`, each in an environment of its own."""
