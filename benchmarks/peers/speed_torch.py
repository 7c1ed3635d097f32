"""Plain PyTorch, written well: data as one tensor, whole batches by index, the fused Adam.

    python speed_torch.py eager|compiled

"compiled" is `torch.compile` of all that stands between the noise and the loss, or the log weights:
it needs a C++ compiler. The noise is drawn outside, which is faster than the generator that the
compiler writes.
"""

import math
import sys

import speed_protocol as protocol
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

SAMPLES = 2500  # of z at a time, in evaluation: what suits the cache
SHIFT = math.log(math.expm1(1.0))  # softplus(SHIFT) = 1


def dense(*sizes):
    layers = []
    for pair in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(*pair), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def mlp(latents):
    encoder = dense(protocol.EVENT, *protocol.HIDDEN, 2 * latents)
    return encoder, dense(latents, *reversed(protocol.HIDDEN), protocol.EVENT)


def conv(latents):
    """The layers of Keras' own example of a VAE."""
    up = {"stride": 2, "padding": 1, "output_padding": 1}
    encoder = nn.Sequential(
        *(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 16), nn.ReLU()),
        nn.Linear(16, 2 * latents),
    )
    decoder = nn.Sequential(
        *(nn.Linear(latents, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))),
        *(nn.ConvTranspose2d(64, 64, 3, **up), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 3, **up), nn.ReLU(), nn.Conv2d(32, 1, 3, 1, 1)),
        nn.Flatten(1, 2),
    )
    return encoder, decoder


def counts(latents):
    """From log(1 + x), which is the business of the loss, to z; from z to the log of a mean."""
    genes, hidden = protocol.GENES, protocol.HIDDEN_OF_COUNTS
    return dense(genes, hidden, 2 * latents), dense(latents, hidden, genes)


NETWORKS = {"mlp": mlp, "conv": conv, "counts": counts}


class Torch:
    def __init__(self, form):
        self.compiled = torch.compile if form == "compiled" else lambda function: function

    def prepare(self, x, batch, model="mlp", latents=50, weights=None):
        torch.manual_seed(0)
        torch.compiler.reset()  # else a second model is compiled for shapes that may change
        self.batch, self.latents, self.counts = batch, latents, model == "counts"
        self.x = torch.from_numpy(x.reshape(-1, 28, 28) if model == "conv" else x)
        self.encoder, self.decoder = NETWORKS[model](latents)
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters):
                if weights:
                    parameter.copy_(torch.from_numpy(weights[i].T))
                elif parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)  # as Keras begins
                else:
                    nn.init.zeros_(parameter)
        if self.counts:
            self.raw_dispersion = nn.Parameter(torch.zeros(protocol.GENES))
            self.parameters.append(self.raw_dispersion)
            self.mean_size = self.x.sum(1).mean()
        rate, epsilon = protocol.STEP, protocol.EPSILON
        self.adam = torch.optim.Adam(self.parameters, rate, eps=epsilon, fused=True)
        self.loss, self.weigh = self.compiled(self.mean_loss), self.compiled(self.log_weights)

    def bernoulli(self, x, logits):
        return -binary_cross_entropy_with_logits(logits, x, reduction="sum")

    def negative_binomial(self, x, log_mean):
        """The sum over cells and genes; variance = mean + dispersion mean^2."""
        shape = 1 / (1e-6 + softplus(self.raw_dispersion + SHIFT))
        log_mean = log_mean + torch.log(x.sum(1, keepdim=True) / self.mean_size)
        log_total = torch.log(shape + log_mean.exp())  # torch.distributions takes 1.6 times as long
        ways = torch.lgamma(x + shape) - torch.lgamma(shape) - torch.lgamma(x + 1)
        return (ways + shape * (shape.log() - log_total) + x * (log_mean - log_total)).sum()

    def mean_loss(self, x, noise):
        loc, log_variance = self.encoder(x.log1p() if self.counts else x).chunk(2, dim=1)
        z = loc + torch.exp(0.5 * log_variance) * noise
        log_likelihood = self.negative_binomial if self.counts else self.bernoulli
        reconstruction = log_likelihood(x, self.decoder(z))
        kl = 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum()
        return (kl - reconstruction) / len(x)

    def train(self, epochs):
        for _ in range(epochs):
            total = torch.zeros(())
            for rows in torch.randperm(len(self.x)).split(self.batch):
                loss = self.loss(self.x[rows], torch.randn(len(rows), self.latents))
                self.adam.zero_grad(set_to_none=True)
                loss.backward()
                self.adam.step()
                total += len(rows) * loss.detach()
        return float(total) / len(self.x)

    @torch.inference_mode()
    def evaluate(self, x, function, seed, num_samples):
        """log 1/K sum_k w_k, the mean over x; one example at a time, and some of its samples."""
        assert function == "iwae", function
        torch.manual_seed(seed)
        bounds = []
        for one in torch.from_numpy(x).split(1):
            loc, raw = self.encoder(one).chunk(2, dim=1)  # [1, L]
            # The weights are this project's, so that both evaluate the same model.
            scale = 1e-6 + softplus(raw + SHIFT)
            noise = torch.randn(num_samples, *loc.shape).split(SAMPLES)
            log_w = torch.cat([self.weigh(one, loc, scale, some) for some in noise])
            bounds.append(torch.logsumexp(log_w, dim=0) - math.log(num_samples))
        return float(torch.cat(bounds).mean())

    def log_weights(self, x, loc, scale, noise):
        """log p(x, z) - log q(z|x), [S, B]."""
        z = loc + scale * noise  # [S, B, L]
        logits = self.decoder(z)  # [S, B, D]
        log_likelihood = torch.einsum("sbd,bd->sb", logits, x) - softplus(logits).sum(-1)
        # log p(z) - log q(z|x); the constants cancel
        return log_likelihood + 0.5 * (noise**2 - z**2).sum(-1) + scale.log().sum(-1)

    def decode(self, rows):
        protocol.products(torch, rows, self.latents)


if __name__ == "__main__":
    protocol.serve(Torch(sys.argv[1]))
