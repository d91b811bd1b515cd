"""The gate's checks of a staged model server, before a rollout may start."""
