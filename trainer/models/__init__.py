"""Keras models: one short file each. They know nothing of training."""
