"""One file per chapter: ``measure`` gives frozen arrays, ``draw`` makes figures of them, ``facts`` numbers.

``measure`` may use the network; ``draw`` and ``facts`` get nothing but what was measured. The words are
in the report's catalogues.
"""
