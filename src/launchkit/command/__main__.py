"""`python -m launchkit.command`."""

import sys

from launchkit.command import main

sys.exit(main())
