"""Exercises of notebook 07: the beta-VAE's relatives."""

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

EXERCISES: dict[str, Value | Function] = {}
