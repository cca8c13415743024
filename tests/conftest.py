"""What every test shares: hypothesis without a clock (the box is shared), and its seed printed on failure."""

from hypothesis import settings

settings.register_profile("city", deadline=None, print_blob=True)
settings.load_profile("city")
