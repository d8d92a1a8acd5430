"""How much of what is secret the redaction hides, and how much of what is not it leaves alone."""
