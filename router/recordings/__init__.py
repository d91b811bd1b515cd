"""Recorded traffic as files: what a line holds, and reading and writing lines. docs/recordings.md tells it."""
