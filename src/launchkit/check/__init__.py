"""The self-check: what proves, before the launch, that the protection works."""
