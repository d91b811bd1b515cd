"""The judge of titleshot: facts in, decisions out. Pure: no clock, no randomness, no I/O."""
