"""What the lessons need: figures, checks of exercises, stored results, headline figures."""

from vae_tf.course import checks, drawings, plots, results
from vae_tf.course.exercises import check
from vae_tf.course.headlines import headline
from vae_tf.course.statistics import compare

__all__ = ["check", "checks", "compare", "drawings", "headline", "plots", "results"]
