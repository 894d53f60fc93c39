"""Python imports this at its start where the folder is on PYTHONPATH: Numba is not there."""

import sys

sys.modules["numba"] = None
