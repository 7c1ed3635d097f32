"""Wrong solutions of assignment 2 that students hand in, and the marks that each loses."""

NO_PRIOR = """
def posterior(x, case):
    covariance = case.sigma**2 * np.linalg.inv(case.weights.T @ case.weights)
    return (x - case.mean) @ case.weights @ covariance / case.sigma**2, covariance
"""

DIAGONAL_ONLY = """
def gap(loc, scale, post_loc, post_cov):
    width = np.sqrt(np.diag(post_cov))
    return (
        np.log(width / scale) + (scale**2 + (loc - post_loc) ** 2) / (2 * width**2) - 0.5
    ).sum(axis=-1)
"""

SUM = """
post_loc, post_cov = posterior(mine.x, mine)
mean_gap = gap(*mine.encode(mine.x), post_loc, post_cov).sum()
mean_elbo = (log_evidence(mine.x, mine) - gap(*mine.encode(mine.x), post_loc, post_cov)).mean()
"""

MARGINAL = """
def best_scale(post_cov):
    return np.sqrt(np.diag(post_cov))
"""

AT_THE_MEAN = """
def one_elbo(w):
    return norm.logpdf(mine.one_x, w * mine.loc, mine.noise)


new_w = mine.one_x / mine.loc
spread = np.hypot([mine.w, new_w], mine.noise)
change_elbo = one_elbo(new_w) - one_elbo(mine.w)
change_log_p = np.diff(norm.logpdf(mine.one_x, 0, spread))[0]
"""

# {what is wrong: ({question: the source of its answer cell}, {question: the marks that it loses})}
WRONG = {
    "a posterior without the prior": ({"q1": NO_PRIOR}, {"q1": 2, "q4": 1, "q6": 1}),
    "only the diagonal of the posterior": ({"q3": DIAGONAL_ONLY}, {"q3": 2, "q4": 1, "q6": 1}),
    "a sum in place of a mean": ({"q4": SUM}, {"q4": 1, "q6": 1}),
    "the marginal scales for the best": ({"q5": MARGINAL}, {"q5": 2, "q6": 1}),
    "the reconstruction at the mean of q": ({"q8": AT_THE_MEAN}, {"q8": 2}),
}
