"""A generator of random numbers that depends on nothing but the assignment and the student."""

import numpy as np


def generator(student, assignment):
    """A NumPy generator of this student, for this assignment: the same draws on every machine.

    Args:
        student: the student number, a whole number above 0.
        assignment: the number of the assignment, so that no two of them share their draws.

    Returns:
        `numpy.random.Generator`.

    Raises:
        ValueError: if the student number is not a whole number above 0.
    """
    if isinstance(student, bool) or not isinstance(student, int | np.integer) or student < 1:
        raise ValueError(
            "Expected your student number in the first cell, a whole number above 0. "
            f"Received STUDENT = {student!r}."
        )
    return np.random.default_rng([assignment, int(student)])
