"""Run a model over an eval pack and keep everything it said."""
