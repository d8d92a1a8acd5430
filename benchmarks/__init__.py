"""What LaunchKit costs: per request in the process, and per request under a real server. Run `python -m benchmarks`."""
