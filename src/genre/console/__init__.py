"""The console: pages in which a person sees what the service does and why, over the public API alone.

NiceGUI serves it, as it is a FastAPI application written in Python that has all of its assets inside the package,
charts and Chinese included, and can stand in the service's own process.
"""
