"""Speed and memory of the toolkit, measured item by item: ``scripts/bench`` runs them all.

Nothing in the package imports this, and no test asserts a time.
"""
