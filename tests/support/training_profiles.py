"""Training profiles for the versions of a World: as `titleshot annotate --profile` adds them."""

import random

from world import MODEL, World

from router.artifacts.profile import Profile, as_text
from router.registering.versions import Lineage, Versions


def give_profile(world: World, version: int, noise) -> None:
    """`noise(random)` draws the values of that column, on which the version was trained."""
    draw = random.Random(version)
    made = Profile()
    made.take(
        {
            "truth": [int(draw.random() < 0.4) for _ in range(2000)],
            "noise": [noise(draw) for _ in range(2000)],
            "label": [int(draw.random() < 0.4) for _ in range(2000)],  # no feature: the signature does not have it
        }
    )
    registry = Versions(f"sqlite:///{world.registry_file}")
    registry.annotate(MODEL, version, Lineage(profile=as_text(made.data())), by="ann", replace=None)
