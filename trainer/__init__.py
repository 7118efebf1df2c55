"""Convoy: one training loop for Keras 3 models, from a laptop to a cluster."""
