"""The version of gradsmith: this file is the only place that states it."""

__version__ = "0.1.0"
