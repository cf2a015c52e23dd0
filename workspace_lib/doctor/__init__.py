"""`workspace doctor`: what is missing or wrong here, and what to do about it."""
