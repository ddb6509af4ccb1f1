"""The pictures: NumPy arrays in, a matplotlib ``Figure`` out.

Knows nothing about networks, runs or files of data, and never imports torch; nothing is drawn through
pyplot. Each module holds one family of pictures; ``theme``, ``raster`` and
``saving`` hold what they share.
"""
