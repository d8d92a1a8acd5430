"""What becomes of a stored delivery: its handler here, or the queue that the app already has."""
