"""Five plausible wrong solutions of assignment 3, and the marks that each loses."""

ONE_NOISE = """def units_kl(x, scales, beta):
    y = x - x.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(y.T @ y / len(y))[::-1]
    return 0.5 * np.log(np.maximum(eigenvalues / (beta * np.mean(scales**2)), 1.0))"""

TABLE_OF_BETAS = """def beta_for_rate(eigenvalues, rate):
    betas = np.linspace(0.001, 60, 60_000)
    ratio = np.maximum(eigenvalues[:, None] / betas, 1.0)
    return betas[np.argmin(np.abs(0.5 * np.log(ratio).sum(axis=0) - rate))]"""

UNITS_OF_THE_NOISE = """y = mine.images / mine.noise
beta = beta_for_rate(np.linalg.eigvalsh(np.cov(y, rowvar=False, ddof=0)), mine.budget)
model, q_z = train_linear(y, beta)
terms = model.elbo(y, q_z)
rate = np.mean(terms.kl)
distortion = -np.mean(terms.reconstruction)
elbo = np.mean(terms.elbo)"""

BY_THE_KL = """def kinds_of(loc, scale):
    kl = (0.5 * (loc**2 + scale**2 - 1) - np.log(scale)).mean(axis=0)
    return ["used" if nats > 0.01 else "silent" for nats in kl], kl[kl <= 0.01].sum()"""

MEAN_OF_RATIOS = """def edge_of_bound(model, x, q_z):
    terms = model.elbo(x, q_z)
    gaps = model.log_evidence(x) - terms.elbo
    return float(np.mean(1 - gaps / terms.kl))"""

NEIGHBOURS = """def best_for(rate, distortion):
    order = np.argsort(rate)
    kept = [k for k in order if all(distortion[k] <= distortion[rate <= rate[k]])]
    low, high = np.full(len(rate), np.nan), np.full(len(rate), np.nan)
    slopes = -np.diff(distortion[kept]) / np.diff(rate[kept])
    low[kept], high[kept] = np.append(slopes, 0.0), np.append(np.inf, slopes)
    return low, high"""

WRONG = {
    "one noise for all pixels": ({"q1": ONE_NOISE}, {"q1": 1}),
    "a table of betas": ({"q2": TABLE_OF_BETAS}, {"q2": 2}),
    "the density of y for that of x": ({"q3": UNITS_OF_THE_NOISE}, {"q3": 2}),
    "used is what has a KL": ({"q4": BY_THE_KL}, {"q4": 2}),
    "a mean of ratios, intervals between neighbours": (
        {"q5": MEAN_OF_RATIOS, "q6": NEIGHBOURS},
        {"q5": 2, "q6": 2},
    ),
}
