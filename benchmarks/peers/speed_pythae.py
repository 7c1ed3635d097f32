"""Pythae: its VAE, its loss and its trainer, with networks of the same layers.

Its loss is that of probabilities, where ours takes logits. Its trainer is `BaseTrainer.train_step`,
an epoch; what `train` does between epochs (a copy of the best model, files) is left out.
"""

import tempfile

import speed_protocol as protocol
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from speed_torch import mlp, unload


class Encoder(BaseEncoder):
    def __init__(self, weights):
        super().__init__()
        self.layers = mlp(weights)

    def forward(self, x):
        loc, log_variance = self.layers(x).chunk(2, dim=1)
        return ModelOutput(embedding=loc, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, weights):
        super().__init__()
        self.layers = mlp(weights)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))


class Pythae:
    scale = "log variance"
    versions = {"Pythae": "0.1.2", "PyTorch": torch.__version__}

    def prepare(self, x, batch, weights):
        latents = len(weights[6])
        config = VAEConfig((protocol.EVENT,), latents, reconstruction_loss="bce")
        self.vae = VAE(config, Encoder(weights[:6]), Decoder(weights[6:]))
        x = torch.from_numpy(x)
        self.folder = tempfile.TemporaryDirectory()
        training = BaseTrainerConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=batch,
            learning_rate=protocol.STEP,
            optimizer_params={"eps": protocol.EPSILON},
            seed=0,
        )
        self.trainer = BaseTrainer(self.vae, BaseDataset(x, torch.ones(len(x))), None, training)
        self.trainer.prepare_training()
        self.epoch = 0

    def train(self, epochs):
        for _ in range(epochs):
            self.epoch += 1
            loss = self.trainer.train_step(self.epoch)
        return loss

    def weights(self):
        return unload(self.vae.encoder.layers, self.vae.decoder.layers)


if __name__ == "__main__":
    protocol.serve(Pythae())
