"""How long requests take, by method, route template and use of the read cache, and `/metrics`."""
