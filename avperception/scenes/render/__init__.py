"""The cameras: what is seen, painted back to front, and what lens, weather and sensor make of it."""
