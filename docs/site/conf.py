"""How Sphinx builds the site; tools/website.py lays out its sources."""

import re

import vae_tf

project = "The evidence lower bound"
author = "The vae_tf authors"
version = release = vae_tf.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "download"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_rtype = False
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
templates_path = ["_templates"]
html_js_files = ["reach.js"]
html_css_files = ["site.css"]
html_title = "The evidence lower bound"
html_copy_source = True
html_show_sphinx = False
html_show_copyright = False

autodoc_inherit_docstrings = False  # those of Keras and TensorFlow Probability stand on their sites
suppress_warnings = ["config.cache"]

CODE = re.compile(r"`+[^`]*`+")


def plain(text):
    """A docstring's line as reStructuredText: `code` is code, and no other sign is markup."""
    if text.lstrip().startswith((">>>", "...", "**")):
        return text
    parts, ends = CODE.split(text), CODE.findall(text)
    parts = [re.sub(r"([*|]|_(?!\w))", r"\\\1", part) for part in parts]
    parts[-1] = re.sub(r"(?<=: [A-Z])\.$", r"\.", parts[-1])  # "K." would begin a list
    code = [f"``{end.strip('`')}``" for end in ends] + [""]
    return "".join(part + end for part, end in zip(parts, code, strict=True))


def process(_app, what, _name, obj, _options, lines):
    """Called by autodoc for each docstring; TensorFlow Probability's own stay where they are."""
    foreign = str(getattr(obj, "__module__", "")).startswith("tensorflow_probability")
    field = lines[:1] and lines[0].startswith("Alias for field number")
    lines[:] = [] if foreign or field else page(lines)
    if what in ("attribute", "data", "property") and ":" in "".join(lines[:1]):
        lines[:0] = ["..", ""]  # or napoleon takes what stands before the colon for a type


def page(lines):
    """A docstring in which a block that is set in below a sentence is shown as it stands."""
    block = False
    for line, after, then in zip(lines, [*lines[1:], ""], [*lines[2:], "", ""], strict=True):
        block = block and (not line or line.startswith("    "))
        opens = bool(line) and not line.startswith((" ", "-", "*")) and not after
        opens = opens and then.startswith("    ")
        yield line if block else plain(line) + ":" * (opens and line.endswith(":"))
        if opens and not line.endswith(":"):
            yield from ("", "::")
        block = block or opens


def signature(_app, what, _name, obj, _options, given, returned):
    """Of a class, what its `__init__` takes: Keras and TensorFlow wrap `__new__` around it.

    A protocol, which nobody calls, takes nothing.
    """
    if getattr(obj, "_is_protocol", False):
        return "", returned
    if what == "class" and (given or "").startswith("(*args"):
        from sphinx.util import inspect  # of the extra `site`, which tests do without

        found = inspect.signature(obj.__init__, bound_method=True)
        given = inspect.stringify_signature(found, unqualified_typehints=True)
    return given, returned


def setup(app):
    """Connects the hooks; that of docstrings before that of napoleon."""
    app.connect("autodoc-process-docstring", process, priority=1)
    app.connect("autodoc-process-signature", signature)
