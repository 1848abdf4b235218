"""Is the machine fit, and is a run what was written?"""
