# TensorFlow Probability says no types: to mypy, whatever is in it is Any, and can be a type itself.
from typing import Any

from . import distributions as distributions

def __getattr__(name: str) -> Any: ...
