"""The live lab: one HTML file in which a run's network itself runs, offline.

``network_data`` takes what the page needs from a run, ``page`` writes it; ``kernels.c`` and ``templates/*.js`` are the
network in the browser.
"""
