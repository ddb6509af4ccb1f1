"""Recordings on disk: zarr v3 folders that grow block by block, are checked when read, and can be zipped."""
