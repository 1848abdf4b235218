"""Runs become one: opened, averaged, scored, their rule chosen out of fold."""
