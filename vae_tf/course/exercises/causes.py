"""Exercises of notebook 09: where the gap comes from."""

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

EXERCISES: dict[str, Value | Function] = {}
