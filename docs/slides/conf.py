"""How Sphinx builds the slides; tools/slides.py lays out their sources."""

project = "The evidence lower bound"
author = "The vae_tf authors"
extensions = ["myst_parser", "sphinx_revealjs", "sphinx-mathjax-offline"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True

revealjs_style_theme = "simple"
revealjs_static_path = ["_static"]
revealjs_css_files = ["slides.css"]
revealjs_js_files = ["fit.js"]
revealjs_script_conf = {
    "slideNumber": "c/t",
    "hash": True,
    "center": False,
    "width": 1280,
    "height": 720,
}
