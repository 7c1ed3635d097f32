"""How far apart the two bounds of log p(x) are, against the number of temperatures (notebook 08).

A VAE of ten latents is trained on binarised digits; then bidirectional Monte Carlo runs on digits
that it never saw and on digits that it made itself, from few temperatures to many. Makes
`data/results/08_certified_evidence.json`.
"""

import time

import keras
import numpy as np

import vae_tf as vt

SEED = 0
TEMPERATURES = [25, 50, 100, 200, 400, 800]
EXAMPLES = 24  # of either kind
CHAINS = 8


def network():
    """The VAE of the notebook, trained."""
    digits = vt.data.load("mnist5k")
    keras.utils.set_random_seed(SEED)
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(10), hidden=(100,))
    decoder = vt.networks.mlp(10, vt.layers.Bernoulli((28, 28)), hidden=(100,))
    vae = vt.VAE(encoder, decoder, seed=SEED)
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(vt.data.binarize(digits.x_train, seed=0), epochs=15, batch_size=100, verbose=0)
    return vae, vt.data.binarize(digits.x_test, seed=1)[:EXAMPLES]


def main():
    start = time.monotonic()
    vae, x = network()
    figures = {"temperatures": TEMPERATURES, "chains": CHAINS}
    for kind in ("real lower", "real upper", "simulated width"):
        figures[kind] = []
    for steps in TEMPERATURES:
        both = vt.evidence.bracket(
            vae, x, num_chains=CHAINS, num_steps=steps, num_simulated=EXAMPLES, seed=SEED
        )
        for kind, values in (
            ("real lower", both.lower),
            ("real upper", both.upper),
            ("simulated width", both.simulated_width),
        ):
            figures[kind].append([round(float(value), 4) for value in values])
        width = np.mean(both.upper - both.lower), both.simulated_width.mean()
        print(f"{steps} temperatures: width {width[0]:.3f}, simulated {width[1]:.3f}", flush=True)
    seconds = time.monotonic() - start
    settings = {"temperatures": TEMPERATURES, "chains": CHAINS, "examples": EXAMPLES}
    where = {"script": __file__, "settings": settings, "seeds": [SEED]}
    print(vt.results.save("08_certified_evidence", figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
