"""Training profiles for the versions of a World: as `titleshot annotate --profile` adds them."""

import random

from world import MODEL, World

from router.artifacts.profile import Profile, as_text
from router.registering.versions import Lineage, Versions


def profile_text(seed: int, noise) -> str:
    """Of 2,000 rows; `noise(random)` draws the values of that column."""
    draw = random.Random(seed)
    made = Profile()
    made.take(
        {
            "truth": [int(draw.random() < 0.4) for _ in range(2000)],
            "noise": [noise(draw) for _ in range(2000)],
            "label": [int(draw.random() < 0.4) for _ in range(2000)],  # no feature: the signature does not have it
        }
    )
    return as_text(made.data())


def give_profile(world: World, version: int, noise) -> None:
    """The version was trained on such rows."""
    registry = Versions(f"sqlite:///{world.registry_file}")
    registry.annotate(MODEL, version, Lineage(profile=profile_text(version, noise)), by="ann", replace=None)
