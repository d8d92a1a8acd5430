"""Shared cache of GET responses inside the app (RFC 9111)."""
