"""Figures of what people hand in: colour images, histories, latents without a label."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vae_tf as vt

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")


def drawn(x, **kwargs):
    return np.asarray(vt.plots.images(x, **kwargs).images[0].get_array())


class TestImages:
    grey = np.random.default_rng(0).random((3, 4, 5))

    def test_one_channel_is_as_none(self):
        ours, theirs = (drawn(x, columns=2) for x in (self.grey[..., None], self.grey))
        assert ours.shape == (12, 14)
        np.testing.assert_array_equal(ours, theirs)

    def test_colour(self):
        x = np.random.default_rng(0).random((3, 4, 5, 3))
        mosaic = drawn(x, columns=2)
        assert mosaic.shape == (12, 14, 3)
        np.testing.assert_array_equal(mosaic[1:5, 8:13], x[1])  # second of the first row
        np.testing.assert_array_equal(mosaic[6:, 7:], 1.0)  # nothing is white, as under grey ones
        assert mosaic[0].min() == 1.0

    def test_whole_numbers_of_a_byte_are_scaled(self):
        bytes_ = np.round(255 * self.grey).astype("uint8")
        assert vt.plots.images(bytes_).images[0].get_clim() == (0, 1)
        np.testing.assert_allclose(drawn(bytes_), drawn(self.grey), rtol=0, atol=0.5 / 255 + 1e-12)
        colour = np.full((2, 3, 3, 3), 51, "uint8")
        np.testing.assert_allclose(drawn(colour)[1:4, 1:4], 0.2, rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float32"])
    def test_binary_images_of_any_type(self, dtype):
        x = (self.grey > 0.5).astype(dtype)
        np.testing.assert_array_equal(drawn(x)[1:5, 1:6], self.grey[0] > 0.5)

    def test_what_lies_outside_is_drawn_as_the_nearer_end(self):
        colour = np.stack([self.grey - 1, self.grey, self.grey + 1], axis=-1)
        mosaic = drawn(colour)[1:5, 1:6]
        np.testing.assert_array_equal(mosaic[..., 0], 0.0)
        np.testing.assert_array_equal(mosaic[..., 2], 1.0)

    @pytest.mark.parametrize(
        "shape", [(4, 5), (3, 4, 5, 2), (3, 4, 5, 4), (0, 4, 5), (2, 3, 4, 5, 3)]
    )
    def test_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match="Expected images `x` of shape .*Received: shape"):
            vt.plots.images(np.zeros(shape))
        assert not plt.get_fignums()

    def test_refuses_other_whole_numbers(self):
        for x in (np.full((1, 2, 2), 255), np.full((1, 2, 2), -1)):
            with pytest.raises(ValueError, match="Expected `x` from 0 to 1.*Received: int64 from"):
                vt.plots.images(x)

    def test_refuses_no_columns(self):
        with pytest.raises(ValueError, match="Expected `columns` to be a positive integer"):
            vt.plots.images(self.grey, columns=0)


class TestTerms:
    names = ("elbo", "reconstruction", "kl")

    def history(self, epochs, validations):
        seen = {name: list(range(epochs)) for name in self.names}
        return seen | {f"val_{name}": list(range(validations)) for name in self.names}

    def epochs(self, ax):
        return [line.get_xdata().tolist() for line in ax.lines]

    @pytest.mark.parametrize(
        ("epochs", "freq", "at"),
        [(4, None, [2, 4]), (4, 2, [2, 4]), (7, None, [3, 6]), (5, [5, 1, 9], [1, 5])],
    )
    def test_validations_stand_at_their_epochs(self, epochs, freq, at):
        ax = vt.plots.terms(self.history(epochs, 2), validation_freq=freq)
        assert self.epochs(ax) == [list(range(1, epochs + 1)), at] * 3

    def test_each_epoch_has_one(self):
        assert self.epochs(vt.plots.terms(self.history(3, 3))) == [[1, 2, 3]] * 6

    def test_what_leaves_doubt_is_refused(self):
        for epochs, validations, freq in ((3, 1, None), (4, 2, 3), (4, 2, [1]), (4, 5, None)):
            with pytest.raises(ValueError, match="Expected `validation_freq` as `fit` had it"):
                vt.plots.terms(self.history(epochs, validations), validation_freq=freq)
        assert self.epochs(vt.plots.terms(self.history(3, 1), validation_freq=3))[1] == [3]

    def test_what_fit_returns(self):
        x = np.zeros((4, 3), "float32")
        encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(4,))
        decoder = vt.networks.mlp(2, vt.layers.Bernoulli(3), hidden=(4,))
        vae = vt.VAE(encoder, decoder, seed=0)
        history = vae.fit(x, validation_data=x, validation_freq=2, epochs=4, verbose=0)
        ax = vt.plots.terms(history)
        assert self.epochs(ax) == [[1, 2, 3, 4], [2, 4]] * 3
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), history.history["val_elbo"])

    def test_refuses_a_history_without_the_terms(self):
        with pytest.raises(ValueError, match="Expected `history` .*Received: one without recon"):
            vt.plots.terms({"loss": [1.0], "elbo": [1.0]})


class TestBounds:
    def test_refuses_unequal_lengths(self):
        for elbo, log_p, k_sample in ((5, 4, None), (4, 5, None), (4, 4, 5)):
            k_sample = None if k_sample is None else np.zeros(k_sample)
            with pytest.raises(
                ValueError, match=r"Expected `elbo`, `log_evidence`.*Received: shap"
            ):
                vt.plots.bounds(np.zeros(elbo), np.zeros(log_p), k_sample)
        with pytest.raises(ValueError, match=r"of one shape \[N\]. Received: shapes \[\], \[\]"):
            vt.plots.bounds(1.0, 2.0)


class TestLatents:
    z = np.random.default_rng(0).normal(size=(6, 2))

    def legend(self, ax):
        return [text.get_text() for text in ax.get_legend().get_texts()]

    def test_examples_without_a_label_have_no_class_of_their_own(self):
        labels = np.array([-1, 0, 1] * 2)
        ax = vt.plots.latents(self.z, labels, names=("cat", "dog"))
        assert self.legend(ax) == ["unlabelled", "cat", "dog"]
        all_known = vt.plots.latents(self.z[labels >= 0], labels[labels >= 0])
        for ours, theirs in zip(ax.collections[1:], all_known.collections, strict=True):
            np.testing.assert_array_equal(ours.get_facecolor(), theirs.get_facecolor())

    def test_names_by_label(self):
        ax = vt.plots.latents(self.z, [7, 9] * 3, names={7: "seven", 9: "nine"})
        assert self.legend(ax) == ["seven", "nine"]
        assert self.legend(vt.plots.latents(self.z, [7, 9] * 3)) == ["7", "9"]

    @pytest.mark.parametrize("label", [2, -2])
    def test_refuses_a_label_without_a_name(self, label):
        with pytest.raises(ValueError, match=f"a name for each label. Received: label {label}"):
            vt.plots.latents(self.z, [0, 1, label] * 2, names=("cat", "dog"))

    @pytest.mark.parametrize(("z", "labels"), [((9, 3), 9), ((9,), 9), ((9, 1), 9), ((9, 2), 8)])
    def test_refuses_other_shapes(self, z, labels):
        with pytest.raises(
            ValueError, match="Expected two latents `z` of shape .*Received: shapes"
        ):
            vt.plots.latents(np.zeros(z), np.zeros(labels, int))

    def test_refuses_labels_that_are_no_classes(self):
        with pytest.raises(ValueError, match="Expected `labels` to be integers. Received: float64"):
            vt.plots.latents(self.z, np.zeros(6))


def test_contours_refuse_another_shape():
    with pytest.raises(
        ValueError, match=r"of shape \[3, 4\], first axis z_1. Received: shape \[4, 3"
    ):
        vt.plots.contours(np.arange(3), np.arange(4), {"p": np.zeros((4, 3))})


@pytest.mark.parametrize("library", ["matplotlib", "sklearn"])
def test_a_library_is_not_waited_for_before_it_is_used(library):
    program = f"import sys; sys.modules[{library!r}] = None; import vae_tf; print(vae_tf.plots)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


class TestHouseStyle:
    def test_one_colour_for_one_quantity(self):
        """log p(x) black, the ELBO blue and so on, in each figure that has them."""
        style, plots = vt.plots.STYLE, vt.plots
        history = {"elbo": [-9.0], "reconstruction": [-8.0], "kl": [1.0], "val_elbo": [-9.5]}
        drawn_ = {line.get_label(): line for line in plots.terms(history).lines}
        assert drawn_["elbo"].get_color() == style["ELBO"]["color"]
        assert drawn_["kl"].get_color() == style["KL"]["color"]
        assert drawn_["val_elbo"].get_color() == style["ELBO"]["color"]
        assert [drawn_[n].get_linestyle() for n in ("elbo", "val_elbo")] == ["-", ":"]
        ax = plots.bounds([-3.0], [-1.0], [-2.0], k=5)
        assert [line.get_color() for line in ax.lines] == [
            style[name]["color"] for name in ("log p(x)", "IWAE", "ELBO")
        ]

    @pytest.mark.parametrize("name", [n for n in vt.plots.STYLE if "color" in vt.plots.STYLE[n]])
    def test_contrast_with_white_paper(self, name):
        """At least 3 : 1, which WCAG 2.1 (1.4.11) asks of what a figure needs."""
        rgb = np.array(matplotlib.colors.to_rgb(vt.plots.STYLE[name]["color"]))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3.0

    def test_quantities_are_told_apart(self):
        looks = {name: str(sorted(style.items())) for name, style in vt.plots.STYLE.items()}
        same = {name for name, look in looks.items() if [*looks.values()].count(look) > 1}
        assert same == {"log p(x)", "posterior"}  # a number and a density: never in one figure


class TestWaterfall:
    def test_levels_steps_and_numbers(self):
        ax = vt.plots.waterfall(-150.0, 5.25, -152.5)
        bars = [(bar.get_y(), bar.get_height()) for bar in ax.patches]
        assert bars == [(-155.25, 5.25), (-155.25, 2.75)]  # the KL, the gap: both from the ELBO
        levels = [line.get_ydata()[0] for line in ax.lines[::2]]
        assert levels == [-150.0, -155.25, -152.5]
        said = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in ax.texts]
        assert said == ["-150.00", "-5.25", "-155.25", "+2.75", "-152.50"]
        assert ax.get_ylabel() == "[nats]"

    def test_small_numbers_keep_three_digits(self):
        texts = vt.plots.waterfall(-1.2, 0.002, -1.201).texts
        assert texts[3].get_text() == "+0.00100"

    def test_a_zero_has_no_minus(self):
        _, minus_kl, *_ = vt.plots.waterfall(20.0, 0.0, 15.0).texts
        assert minus_kl.get_text() == "0.00"
        _, _, _, gap, _ = vt.plots.waterfall(20.0, 5.0, 15.0 - 1e-4).texts
        assert gap.get_text() == "+0.00"

    @pytest.mark.parametrize("numbers", [(np.nan, 1, 2), (1, [1, 2], 3), (1, 2, np.inf)])
    def test_what_cannot_be_drawn(self, numbers):
        with pytest.raises(ValueError, match="Expected three finite numbers, in nats. Received"):
            vt.plots.waterfall(*numbers)


class TestShow:
    def test_the_picture_carries_its_text(self, monkeypatch):
        import IPython

        shown = {}
        monkeypatch.setattr(IPython, "get_ipython", object)
        monkeypatch.setattr(
            IPython.display, "display", lambda data, **kw: shown.update(kw, data=data)
        )
        vt.plots.curves([1, 2], {"KL": [0.3, 36.0]}, "step", "KL [nats]")
        vt.plots.show("The KL rises from 0.3 to 36 nats.")
        assert shown["data"]["text/plain"] == "The KL rises from 0.3 to 36 nats."
        assert shown["metadata"]["image/png"]["alt"] == "The KL rises from 0.3 to 36 nats."
        assert shown["data"]["image/png"].startswith("iVBOR")  # a PNG, in base64
        assert shown["metadata"]["image/png"]["width"] == 576  # six inches
        assert not plt.get_fignums()

    def test_a_script_prints_no_picture(self, monkeypatch, capsys):
        opened = []
        monkeypatch.setattr(plt, "show", lambda: opened.append(plt.get_fignums()))
        vt.plots.curves([1, 2], {"KL": [0.3, 36.0]}, "step", "KL [nats]")
        vt.plots.show("The KL rises from 0.3 to 36 nats.")
        assert len(opened[0]) == 1 and capsys.readouterr().out == ""
        plt.close()

    @pytest.mark.parametrize("alt", ["", "  ", None])
    def test_no_text(self, alt):
        vt.plots.curves([1, 2], {"KL": [0.3, 36.0]}, "step", "KL [nats]")
        with pytest.raises(ValueError, match="Expected `alt`"):
            vt.plots.show(alt)

    def test_no_figure(self):
        with pytest.raises(ValueError, match="0 open figures"):
            vt.plots.show("Nothing is here.")
