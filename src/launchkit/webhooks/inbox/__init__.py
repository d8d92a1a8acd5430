"""Deliveries from the moment they are acknowledged until they are done: in a file, or in PostgreSQL."""
