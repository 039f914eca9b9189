"""Keep a second of work out of every start: to be imported before nbformat.

jsonschema, with which nbformat checks notebooks, builds a grammar of internet addresses when it is
imported, where the package for it is installed; JupyterLab brings that. Nothing here asks for the
form of an address, and without the package jsonschema does without.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)  # importing it says that it is not there
