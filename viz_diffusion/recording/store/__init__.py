"""Storage of recordings: zarr v3 folders that are written in chunks, checked when read, and can be zipped."""
