"""The commands of ``salt`` as functions, for notebooks and scripts.

Each takes what a person has at hand (a path as text, a fold as a number, settings as a dict),
turns it into what the pipeline takes, and calls the one function there that the command line
calls too. Beside ``cli/`` this is the only place that prints: one line an epoch, unless
``verbose=False``. They are to be had from :mod:`kaggle_salt` itself.

Heavy imports stand inside the functions, so that ``from kaggle_salt import train`` costs nothing.
"""
