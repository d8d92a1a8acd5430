"""What LaunchKit costs: per request in the process, and per request under a real server. Run `python -m benchmarks`."""

import os

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # logfire's would be imported with the first model
