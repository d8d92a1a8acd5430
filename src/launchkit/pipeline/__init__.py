"""What one request goes through. No framework here, and no I/O but what `perform` hands to a backend."""
