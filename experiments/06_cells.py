"""Five seeds of what notebook 06 measures on blood cells: makes data/results/06_cells.json.

Likelihoods of gene counts compared as probabilities of counts, cells drawn from the prior with
and without the weight of the KL, and log p(x) through training. About fifteen minutes on two cores.
"""

import itertools
import time

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import gammaln, logsumexp

import vae_tf as vt

tfd = tfp.distributions

SEEDS = (0, 1, 2, 3, 4)
EPOCHS, BATCH, LEARNING_RATE, HIDDEN, LATENTS = 40, 50, 5e-3, 64, 2
CHECKPOINTS = (1, 2, 4, 8, 16, 28, 40)
RESTART_EPOCHS = 12
CELLS = vt.data.load("pbmc")
GENES = CELLS.x_train.shape[1]


def rounded(normal):
    """The probabilities of counts that Normals on log(1 + x) imply.

    P(x) = Phi((log(x + 3/2) - loc) / scale) - Phi((log(x + 1/2) - loc) / scale), and P(0) takes
    all that lies below: the log-Normal 1 + count, rounded to the nearest count that is not
    negative. Where TFP rounds up, the shift by 3/2 rounds to the nearest.
    """
    loc, scale = normal.mean(), normal.stddev()  # broadcast against each other
    onto_counts = tfp.bijectors.Shift(tf.constant(-1.5, loc.dtype))
    return tfd.QuantizedDistribution(onto_counts(tfd.LogNormal(loc, scale)), low=0.0)


@keras.saving.register_keras_serializable("cells")
class RoundedNormal(vt.layers.Normal):
    """Normals on log(1 + x), trained on the probabilities that they give to counts."""

    def distribution(self, params):
        return self.independent(rounded(super().distribution(params).distribution))


LIKELIHOODS = {
    "negative binomial": lambda: vt.layers.NegativeBinomial(GENES),
    "Poisson": lambda: vt.layers.Poisson(GENES),
    "Normal on log1p, density": lambda: vt.layers.Normal(GENES, scale="learned"),
    "Normal on log1p, mass": lambda: RoundedNormal(GENES, min_scale=0.05),
}


def networks(name, seed):
    """Encoder and decoder; the decoder begins at the average of each gene."""
    keras.utils.set_random_seed(seed)
    of_logs = name == "Normal on log1p, density"
    x = keras.Input((GENES,))
    h = keras.layers.Dense(HIDDEN, "tanh")(x if of_logs else keras.ops.log1p(x))
    params = keras.layers.Dense(vt.layers.NormalDiag.params_size(LATENTS))(h)
    encoder = keras.Model(x, vt.layers.NormalDiag(LATENTS)(params))
    decoder = vt.networks.mlp(LATENTS, LIKELIHOODS[name](), hidden=(HIDDEN,))
    counts = CELLS.x_train
    average = np.log1p(counts).mean(0) if "log1p" in name else np.log(counts.mean(0) + 1e-2)
    bias = decoder.layers[-2].bias
    bias.assign(np.pad(average, (0, bias.shape[0] - GENES)))
    return encoder, decoder


class Family:
    """One likelihood and one objective: compiled once, trained from each seed."""

    def __init__(self, name, beta=1.0):
        self.name = name
        objective = vt.objectives.BetaELBO(beta)
        self.vae = vt.VAE(*networks(name, 0), objective=objective, seed=0)
        self.vae.compile(keras.optimizers.Adam(LEARNING_RATE))
        self.x = CELLS.x_train if name != "Normal on log1p, density" else np.log1p(CELLS.x_train)

    def start(self, seed, encoder_only=False):
        """New networks and a new optimizer, without another compilation."""
        encoder, decoder = networks(self.name, seed)
        self.vae.encoder.set_weights(encoder.get_weights())
        if not encoder_only:
            self.vae.decoder.set_weights(decoder.get_weights())
        for variable in self.vae.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(tf.zeros_like(variable))
        self.vae.seed_generator.state.assign([0, seed])
        keras.utils.set_random_seed(seed)
        return self

    def train(self, epochs=EPOCHS, track=None, stops=()):
        """Trains, and pauses after the epochs `stops` to measure."""
        for start, stop in itertools.pairwise(sorted({0, *stops, epochs})):
            self.vae.fit(self.x, epochs=stop - start, batch_size=BATCH, verbose=0)
            if stop in stops:
                checkpoint(self.vae, track, stop)
        return self.vae


def log_evidence(vae, x, likelihood=None):
    """log p(x) by a sum over a square of latents, [B]; it grows until it holds each posterior."""
    rows = linear_in_counts(vae, x) if likelihood is None else looked_up(vae, x, likelihood)
    for reach in (8, 12, 18, 27):
        axis = np.linspace(-reach, reach, 20 * reach)  # 0.1 apart
        z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype("float32")
        log_likelihood = np.concatenate([rows(part) for part in np.split(z, 40)])  # [N, B]
        log_w = log_likelihood + vae.prior.log_prob(z).numpy()[:, None]
        log_p = logsumexp(log_w, axis=0)
        at_edge = np.abs(z).max(axis=1) > 0.93 * reach
        if np.exp(log_w[at_edge] - log_p).sum(axis=0).max() < 0.01:
            return log_p + 2 * np.log(axis[1] - axis[0])
    raise ValueError("Expected posteriors within 25 standard deviations of the prior.")


def linear_in_counts(vae, x):
    """z -> log NB(x|z), [N, B], in float64, by one matrix product.

    With one dispersion for each gene, whatever z is, it is sum_d x_d eta_d(z) + A(z) + c(x).
    """

    def rows(z):
        genes = vae.decode(z).distribution
        a = genes.dispersion.numpy().astype("float64")
        log_odds = genes.log_mean.numpy() + np.log(a)  # log(a mean)
        excess = np.logaddexp(0, log_odds)  # log(1 + a mean)
        base = gammaln(x + 1 / a) - gammaln(1 / a) - gammaln(x + 1.0)
        return (log_odds - excess) @ x.T - (excess @ (1 / a))[:, None] + base.sum(axis=1)

    x = x.astype("float64")
    return rows


def looked_up(vae, x, likelihood):
    """z -> log p(x|z), [N, B], for any likelihood with independent genes.

    Each value that a gene takes in x is looked up once: `likelihood(p, values, take)` gives its
    log-probability under the genes of p that `take` picks, and a product with zeros and ones sums
    the genes of each cell.
    """
    pairs, which = np.unique(np.argwhere(x >= 0)[:, 1] * 100_000 + x.ravel(), return_inverse=True)
    genes, values = np.divmod(pairs, 100_000)
    cells = np.zeros((len(pairs), len(x)))
    cells[which.ravel(), np.repeat(np.arange(len(x)), x.shape[1])] = 1
    genes, values = tf.constant(genes, tf.int32), tf.constant(values, tf.float32)

    @tf.function(jit_compile=True)
    def rows(z):
        p = vae.decode(z).distribution
        log_prob = likelihood(p, values, lambda t: tf.gather(t, genes, axis=-1))
        return tf.matmul(tf.cast(log_prob, tf.float64), tf.constant(cells, tf.float64))

    return lambda z: rows(tf.constant(z)).numpy()


def of_poisson(p, values, take):
    return tfd.Poisson(log_rate=take(p.log_rate_parameter())).log_prob(values)


def of_normal(p, values, take):
    loc = take(p.loc)
    return rounded(tfd.Normal(loc, take(p.scale + tf.zeros_like(p.loc)))).log_prob(values)


def of_rounded(p, values, take):
    log_normal = p.distribution.distribution  # under the rounding and the shift
    return rounded(tfd.Normal(take(log_normal.loc), take(log_normal.scale))).log_prob(values)


LOOKUPS = {
    "Poisson": of_poisson,
    "Normal on log1p, density": of_normal,
    "Normal on log1p, mass": of_rounded,
}


def gene_statistics(x):
    """For each gene, what a biologist would plot: log10 mean, log10 variance, share of zeros."""
    x = np.asarray(x, "float64")
    return np.stack([np.log10(x.mean(0) + 0.01), np.log10(x.var(0) + 0.01), (x == 0).mean(0)])


def distance(x, y):
    """Root mean square difference over the genes, of each of the three statistics."""
    difference = gene_statistics(x) - gene_statistics(y)
    return np.sqrt((difference**2).mean(1)).round(4).tolist()


def likelihoods(figures):
    for name in LIKELIHOODS:
        family = Family(name)
        for seed in SEEDS:
            track = {"epoch": [], "elbo": [], "log_p": []}
            stops = CHECKPOINTS if name == "negative binomial" else ()
            vae = family.start(seed).train(EPOCHS, track, stops)
            row = measure(vae, name, seed)
            if name == "negative binomial":
                row["new_cells"] = distance(vae.sample(500, seed=seed), CELLS.x_train)
                figures["through_training"].append(track)
                figures["new_encoder"].append(new_encoder(family, seed))
            figures["likelihoods"].setdefault(name, []).append(row)
            print(name, seed, row["elbo"], np.mean(row["log_p"]), flush=True)


def measure(vae, name, seed):
    """On held-out cells: log p(x) of each, and the ELBO (of the density, if that was trained)."""
    x = CELLS.x_test
    log_p = log_evidence(vae, x, LOOKUPS.get(name))
    trained_on = np.log1p(x) if name == "Normal on log1p, density" else x
    elbo = np.mean(vae.elbo(trained_on, 20, seed=seed).elbo)
    return {"elbo": round(float(elbo), 3), "log_p": log_p.round(3).tolist()}


def checkpoint(vae, track, epoch):
    x = CELLS.x_train[:100]
    track["epoch"].append(epoch)
    track["elbo"].append(float(np.mean(vae.elbo(x, 20, seed=0).elbo)))
    track["log_p"].append(float(log_evidence(vae, x).mean()))


def new_encoder(family, seed):
    """The trained decoder meets an encoder that knows nothing yet; both train on."""
    family.start(seed + 100, encoder_only=True)
    track = {"epoch": [], "elbo": [], "log_p": []}
    checkpoint(family.vae, track, 0)
    family.train(RESTART_EPOCHS, track, range(1, RESTART_EPOCHS + 1))
    return track


def without_kl(figures):
    family = Family("negative binomial", beta=0.01)
    for seed in SEEDS:
        vae = family.start(seed).train()
        figures["without_kl"].append(distance(vae.sample(500, seed=seed), CELLS.x_train))
        print("beta 0.01", seed, figures["without_kl"][-1], flush=True)


def main():
    start = time.time()
    figures = {"likelihoods": {}, "through_training": [], "new_encoder": [], "without_kl": []}
    real = np.concatenate([CELLS.x_val, CELLS.x_test])
    figures["held_out_cells"] = distance(real, CELLS.x_train)
    likelihoods(figures)
    without_kl(figures)
    seconds = time.time() - start
    settings = {"epochs": EPOCHS, "batch": BATCH, "rate": LEARNING_RATE, "hidden": HIDDEN}
    settings |= {"latents": LATENTS, "checkpoints": CHECKPOINTS, "restart_epochs": RESTART_EPOCHS}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS}
    print(vt.results.save("06_cells", figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
