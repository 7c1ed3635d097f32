"""Five plausible wrong solutions of assignment 4, and the marks that each loses."""

SIZE_KEPT = """def split_log_prob(x, size, share):
    n, m = x.sum(axis=1), size * share
    whole = m.sum(axis=1)
    of_total = n * np.log(whole) - whole - gammaln(n + 1)
    return of_total, (x * np.log(m) - m - gammaln(x + 1)).sum(axis=1)"""

ONE_SIZE = """def dispersions(x, size):
    mean, variance = x.mean(axis=0), x.var(axis=0)
    return np.maximum(variance - mean, 0.0) / np.maximum(mean**2, 1e-12)"""

RAW_ENCODER = """def cell_vae(likelihood, share):
    keras.utils.set_random_seed(0)
    genes = len(share)
    encoder = vt.networks.mlp(genes, vt.layers.NormalDiag(2), hidden=(64,))
    decoder = vt.networks.mlp(2, likelihood, hidden=(64,), size_factor=True)
    return vt.VAE(encoder, decoder, seed=0)"""

PLAIN_DIFFERENCE = """def fair(x, size, loc, scale):
    y = np.log1p(x / size)
    per_count = norm.logpdf(y, loc, scale) - np.log1p(x)
    upper = norm.cdf(np.log1p((x + 0.5) / size), loc, scale)
    lower = np.where(x > 0, norm.cdf(np.log1p((x - 0.5) / size), loc, scale), 0.0)
    return per_count.sum(axis=1), np.log(upper - lower).sum(axis=1)"""

UNCORRECTED = """def misfits(real, new, level=0.05):
    error = np.sqrt(real.var(axis=0) / len(real) + new.var(axis=0) / len(new))
    return np.abs(real.mean(axis=0) - new.mean(axis=0)) / error > norm.isf(level / 2)"""

UNPAIRED = """bound = {}
for name, vae in vaes.items():
    found = vt.evidence.iwae(vae, mine.x_new, 100, condition=mine.size_new, seed=0)
    bound[name] = found.estimate
bound_nb = bound["nb"].mean()
difference = bound["nb"].mean() - bound["poisson"].mean()
standard_error = np.sqrt((bound["nb"].var() + bound["poisson"].var()) / len(mine.x_new))"""

WRONG = {
    "the rest is the whole, no correction": (
        {"q1": SIZE_KEPT, "q7": UNCORRECTED},
        {"q1": 1, "q7": 1},
    ),
    "dispersions without the sizes": ({"q2": ONE_SIZE}, {"q2": 2}),
    "an encoder of raw counts, a start at one": ({"q4": RAW_ENCODER}, {"q4": 2}),
    "a derivative without the size, a plain difference": ({"q5": PLAIN_DIFFERENCE}, {"q5": 1.5}),
    "an unpaired standard error": ({"q6": UNPAIRED}, {"q6": 1}),
}
