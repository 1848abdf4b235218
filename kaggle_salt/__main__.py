"""``python -m kaggle_salt`` is ``salt``."""

from kaggle_salt.cli import main

main()
