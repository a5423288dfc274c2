"""How Sphinx makes the site of these pages: scripts/docs."""

from importlib.metadata import version as installed

import agentq

for name in agentq.__all__:  # they are imported when they are used; autodoc sees those that are there
    getattr(agentq, name)

project = "agentq"
author = "the agentq developers"
version = release = installed("celery-agentq")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["examples"]
suppress_warnings = ["ref.python"]  # of a name that two modules have, the first is linked

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "agentq"
html_show_copyright = False
html_show_sourcelink = False
pygments_style = "default"
