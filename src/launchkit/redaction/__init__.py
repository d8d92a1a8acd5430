"""Keeps secrets out of logs: rules, the engine, and its place in logging."""
