"""Plain PyTorch, written well: data as one tensor, whole batches by index, gradients set to None.

    python speed_torch.py fused|stock

Of the three forms of its Adam the fused one is the fastest on a CPU; stock is what
`torch.optim.Adam(parameters)` gives.
"""

import math
import sys

import speed_protocol as protocol
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

ROWS = 2500  # of z at a time, in evaluation: what suits the cache


def mlp(weights):
    """Dense layers with tanh between them, from [matrix, bias, ...]."""
    layers = []
    for matrix, bias in zip(weights[::2], weights[1::2], strict=True):
        layer = nn.Linear(*matrix.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(matrix.T))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def unload(*networks):
    """The inverse of `mlp`."""
    layers = [layer for network in networks for layer in network if isinstance(layer, nn.Linear)]
    return [p.detach().numpy() for layer in layers for p in (layer.weight.T, layer.bias)]


class Torch:
    scale = "log variance"
    versions = {"PyTorch": torch.__version__}

    def __init__(self, form):
        self.options = {"lr": protocol.STEP, "eps": protocol.EPSILON}
        if form == "fused":
            self.options["fused"] = True

    def load(self, weights):
        self.encoder, self.decoder = mlp(weights[:6]), mlp(weights[6:])

    def prepare(self, x, batch, weights):
        torch.manual_seed(0)
        self.load(weights)
        self.x, self.batch = torch.from_numpy(x), batch
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.adam = torch.optim.Adam(parameters, **self.options)

    def loss(self, x):
        loc, log_variance = self.encoder(x).chunk(2, dim=1)
        z = loc + torch.exp(0.5 * log_variance) * torch.randn_like(loc)
        reconstruction = -binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum()
        return (kl - reconstruction) / len(x)

    def train(self, epochs):
        for _ in range(epochs):
            total = torch.zeros(())
            for rows in torch.randperm(len(self.x)).split(self.batch):
                loss = self.loss(self.x[rows])
                self.adam.zero_grad(set_to_none=True)
                loss.backward()
                self.adam.step()
                total += len(rows) * loss.detach()
        return float(total) / len(self.x)

    def weights(self):
        return unload(self.encoder, self.decoder)

    @torch.inference_mode()
    def evaluate(self, x, samples, seed):
        torch.manual_seed(seed)
        part = max(1, ROWS // samples)
        bounds = [self.bound(some, samples) for some in torch.from_numpy(x).split(part)]
        return float(torch.cat(bounds).mean())

    def bound(self, x, samples):
        """log 1/K sum_k w_k of each example, K samples in chunks."""
        loc, raw = self.encoder(x).chunk(2, dim=1)  # [B, L]
        # The weights are this project's, so that both evaluate the same model.
        scale = 1e-6 + softplus(raw + math.log(math.expm1(1.0)))
        log_weights = []
        for start in range(0, samples, ROWS):
            noise = torch.randn(min(ROWS, samples - start), *loc.shape)  # [S, B, L]
            z = loc + scale * noise
            logits = self.decoder(z)  # [S, B, D]
            log_likelihood = torch.einsum("sbd,bd->sb", logits, x) - softplus(logits).sum(-1)
            # log p(z) - log q(z|x); the constants cancel
            log_ratio = 0.5 * (noise**2 - z**2).sum(-1) + scale.log().sum(-1)
            log_weights.append(log_likelihood + log_ratio)
        return torch.logsumexp(torch.cat(log_weights), dim=0) - math.log(samples)


if __name__ == "__main__":
    protocol.serve(Torch(sys.argv[1]))
