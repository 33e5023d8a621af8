"""Models to be measured: a seam (`model`), one adapter a file, and `create`."""

from surefoot_client.models.registry import UnknownModel, create

__all__ = ["UnknownModel", "create"]
