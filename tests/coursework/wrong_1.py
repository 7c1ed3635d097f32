"""Wrong solutions of assignment 1 that students hand in, and the marks that each loses."""

REVERSED = """
def kl(loc, scale, prior_loc, prior_scale):
    variance, moved = (prior_scale / scale) ** 2, (loc - prior_loc) / scale
    return 0.5 * (variance + moved**2 - 1 - np.log(variance)).sum(axis=-1)
"""

NO_CONSTANT = """
def log_weights(x, loc, scale, noise, case):
    z = loc + scale * noise
    log_lik = -0.5 * (((x - case.mean(z)) / case.sigma) ** 2).sum(axis=-1)
    log_prior = norm.logpdf(z, case.prior_loc, case.prior_scale)
    return log_lik + log_prior - norm.logpdf(z, loc, scale)
"""

NO_NOISE = """
def pathwise_gradient(x, loc, scale, noise, case):
    z = loc + scale * noise
    bend = np.tanh(case.slope * z[:, None] + case.shift)
    residual = (x - case.height * bend) / case.sigma**2
    slope = (residual * case.height * case.slope * (1 - bend**2)).sum(axis=-1)
    d_loc = slope - (loc - case.prior_loc) / case.prior_scale**2
    d_scale = slope - scale / case.prior_scale**2 + 1 / scale
    return np.array([d_loc, d_scale])
"""

NO_KL = """
def score_gradient(x, loc, scale, noise, case, baseline=0.0):
    log_lik = norm.logpdf(x, case.mean(loc + scale * noise), case.sigma).sum(axis=-1)
    return (log_lik - baseline) * np.array([noise, noise**2 - 1]) / scale
"""

DEVIATIONS = """
noise_nodes, noise_step = np.linspace(-10, 10, 4001, retstep=True)
mass = norm.pdf(noise_nodes) * noise_step
path = pathwise_gradient(mine.x, mine.loc, mine.scale, noise_nodes, mine)[0]
score = score_gradient(mine.x, mine.loc, mine.scale, noise_nodes, mine)[0]
variances = [np.sum(mass * g**2) - np.sum(mass * g) ** 2 for g in (score, path)]
slope_loc = np.sum(mass * path)
variance_ratio = np.sqrt(variances[0] / variances[1])
"""

# {what is wrong: ({question: the source of its answer cell}, {question: the marks that it loses})}
WRONG = {
    "the KL the other way round": ({"q1": REVERSED}, {"q1": 1}),
    "a squared error for a log-likelihood": ({"q2": NO_CONSTANT}, {"q2": 1}),
    "the scale moves a draw by one": ({"q5": NO_NOISE}, {"q5": 2}),
    "the score function without the KL": ({"q6": NO_KL}, {"q6": 1}),
    "standard deviations for variances": ({"q7": DEVIATIONS}, {"q7": 1}),
}
