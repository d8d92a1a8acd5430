"""Liveness, readiness and the app's own checks."""
