"""What runs are worth: compared, reported, listed."""
