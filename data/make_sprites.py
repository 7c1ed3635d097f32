"""Writes sprites.npz: 6,000 binary images, 24 x 24, one for each combination of five known factors.

Needs NumPy alone. In the manner of dSprites (Matthey et al., 2017), drawn anew and smaller: a
square, an ellipse or a triangle, in four sizes, at five angles, at ten by ten places. A pixel is
one if its centre lies inside the shape.

No two images are equal, and this takes two choices:

-   The angles stay within a quarter turn. A square looks the same after 90 degrees and an ellipse
    after 180; dSprites goes round the full turn, and holds such squares and ellipses twice.
-   No centre lies on an axis of symmetry of the pixel grid. Otherwise the square at 18 degrees is
    the mirror image of the square at 72, and where pixels are coarse it is the same image.
"""

import itertools

import numpy as np
from _write import shuffled, stratified_split, write

SIZE = 24  # pixels a side
FACTORS = {
    "shape": ("square", "ellipse", "triangle"),
    "scale": (4.5, 5.3, 6.1, 6.9),  # radius of the circle around the shape, in pixels
    "rotation": (0, 18, 36, 54, 72),  # degrees, anticlockwise
    "x": tuple(7.25 + i for i in range(10)),  # the centre: pixels from the left edge
    "y": tuple(7.4 + i for i in range(10)),  # and from the upper one
}


def boundary(shape, u, v):
    """Negative inside the shape, in coordinates where the circle around it is u^2 + v^2 = 1."""
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - np.sqrt(0.5)
    if shape == "ellipse":
        return u**2 + (2 * v) ** 2 - 1  # twice as long as wide
    return np.maximum(3 * np.abs(u) + v - 1, -0.8 - v)  # corners (0, 1), (0.6, -0.8), (-0.6, -0.8)


def draw(shape, scale, rotation, x, y):
    """The boundary function at the centres of the pixels, shape `[SIZE, SIZE]`."""
    centres = np.arange(SIZE) + 0.5
    right, up = centres[None, :] - x, y - centres[:, None]
    cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    # turned back by the rotation, and shrunk by the scale
    return boundary(shape, (cos * right + sin * up) / scale, (cos * up - sin * right) / scale)


def main():
    distance = np.stack([draw(*values) for values in itertools.product(*FACTORS.values())])
    # no pixel centre is so close to an edge that another machine could round it to the other side
    assert np.abs(distance).min() > 1e-9, np.abs(distance).min()
    sizes = [len(values) for values in FACTORS.values()]
    y = np.stack(np.unravel_index(np.arange(len(distance)), sizes), axis=-1)  # [6000, 5]
    order = np.arange(len(y))
    x, y, order = shuffled(distance < 0, y, order, seed=6000)
    write(
        "sprites",
        x=np.packbits(x, axis=-1),  # eight pixels of a row a byte: [6000, 24, 3]
        y=y.astype(np.uint8),
        split=stratified_split(order // 100, num_val=500, num_test=500, seed=6000),
        factor_names=np.array(list(FACTORS)),
        factor_sizes=np.array(sizes, np.uint8),
        shapes=np.array(FACTORS["shape"]),
    )


if __name__ == "__main__":
    main()
