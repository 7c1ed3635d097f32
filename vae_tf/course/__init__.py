"""What the lessons need: figures, checks of exercises, stored results, headline figures."""

from vae_tf.course import checks, plots, results
from vae_tf.course.headlines import headline

__all__ = ["checks", "headline", "plots", "results"]
