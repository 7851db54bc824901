"""Results as trees of frozen values: the content of each file of a run or a series. Files and JSON schemas are made
from them."""
