"""Bringing rows in: the capture store, importers and the demo's data."""
