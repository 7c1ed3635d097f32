"""Exercises of notebook 08: what an estimate of log p(x) certifies."""

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

EXERCISES: dict[str, Value | Function] = {}
