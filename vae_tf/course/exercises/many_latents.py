"""Exercises of notebook 11: chains of latents, and diffusion."""

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

EXERCISES: dict[str, Value | Function] = {}
