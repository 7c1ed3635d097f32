"""Exercises of notebook 10: what went wrong."""

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

EXERCISES: dict[str, Value | Function] = {}
