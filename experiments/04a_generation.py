"""What generation loses without the KL term, over five seeds (notebook 04a).

For each seed three VAEs of two latents are trained on binarised digits: with beta = 1, with
beta = 0.01, and a second one with beta = 1 that judges the samples of the other two. Makes
`data/results/04a_generation.json`.
"""

import time

import keras
import numpy as np

import vae_tf as vt

SEEDS = [0, 1, 2, 3, 4]
EPOCHS = 60
BETAS = {"beta 1": 1.0, "beta 0.01": 0.01}
STAGES = 6  # how often in the course of training the codes are looked at
AXIS = np.linspace(-4, 4, 81)  # of the plane of the prior
DEAD = 0.01  # dead where q(z) < 0.01 p(z)


def network(beta, seed):
    """A VAE of two latents on 8x8 pixels, before training."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(2), hidden=(100,))
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli((8, 8)), hidden=(100,))
    return vt.VAE(encoder, decoder, objective=vt.objectives.BetaELBO(beta), seed=seed)


def dead_share(log_q, points):
    """The prior's mass where the aggregate has less than DEAD of the prior's density."""
    log_p = -0.5 * (points**2).sum(axis=-1)
    weights = np.exp(log_p) / np.exp(log_p).sum()
    return float(weights[log_q < np.log(DEAD) + log_p - np.log(2 * np.pi)].sum())


def measure(vae, judge, x_train, x_test):
    """Trains, and returns what is reported of one model: {name: number}."""
    points = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1)
    ever = np.full(points.shape[:-1], -np.inf)
    for _ in range(STAGES):
        history = vae.fit(x_train, epochs=EPOCHS // STAGES, batch_size=100, verbose=0).history
        log_q = vt.diagnostics.aggregate_log_prob(vae, x_train, points)
        ever = np.maximum(ever, log_q)
    parts = vt.diagnostics.surgery(vae, x_train, 5, seed=0)
    grid = vt.evidence.grid(vae, x_test)
    samples = vae.sample(len(x_test), seed=0)
    chosen = np.random.default_rng(0).choice(x_train, len(x_test), replace=False)
    from_codes = vae.decode(vae.encode(chosen).sample(seed=[0, 1])).sample(seed=[0, 2])
    return {
        "reconstruction, training": history["reconstruction"][-1],
        "ELBO, held out": np.mean(vae.elbo(x_test, 20, seed=0)),
        "log p(x), held out": grid.estimate.mean(),
        "grid error": grid.error.max(),
        "mean KL": parts.kl,
        "information": parts.mutual_information,
        "KL(q(z) || p(z))": parts.marginal_kl,
        "total correlation": parts.total_correlation,
        "surgery error": parts.standard_error,
        "dead share": dead_share(log_q, points),
        "dead share, ever": dead_share(ever, points),
        "samples, judged": vt.evidence.grid(judge, samples).estimate.mean(),
        "samples of q(z), judged": vt.evidence.grid(judge, from_codes).estimate.mean(),
        "held out, judged": vt.evidence.grid(judge, x_test).estimate.mean(),
    }


def main():
    start = time.monotonic()
    digits = vt.data.load("digits")
    x_train = vt.data.binarize(digits.x_train, seed=0)
    x_test = vt.data.binarize(digits.x_test, seed=1)
    figures = {name: [] for name in BETAS}
    for seed in SEEDS:
        judge = network(1.0, seed=100 + seed)
        judge.fit(x_train, epochs=EPOCHS, batch_size=100, verbose=0)
        for name, beta in BETAS.items():
            numbers = measure(network(beta, seed), judge, x_train, x_test)
            figures[name].append({key: round(float(value), 4) for key, value in numbers.items()})
            print(seed, name, figures[name][-1], flush=True)
    columns = {
        name: {key: [run[key] for run in runs] for key in runs[0]} for name, runs in figures.items()
    }
    seconds = time.monotonic() - start
    settings = {"betas": BETAS, "epochs": EPOCHS, "dead": DEAD}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS}
    print(vt.results.save("04a_generation", columns, **where, seconds=seconds))


if __name__ == "__main__":
    main()
