"""titleshot.yaml -> validated, frozen settings; file and line of everything that is wrong; JSON Schema."""

from router.settings.address import Address, is_loopback
from router.settings.load import load_policy, load_settings
from router.settings.model import ModelSettings
from router.settings.problems import Problem, SettingsError
from router.settings.settings import Settings
from router.settings.snapshot import keep, kept

__all__ = [
    "Address",
    "ModelSettings",
    "Problem",
    "Settings",
    "SettingsError",
    "is_loopback",
    "keep",
    "kept",
    "load_policy",
    "load_settings",
]
