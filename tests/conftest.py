"""What every test shares: hypothesis without a clock (the box is shared), and its seed printed on failure.

CI draws the same examples every time, so that it judges the change and not the draw; everywhere else they are new.
"""

import os

from hypothesis import settings

settings.register_profile("city", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "city")
