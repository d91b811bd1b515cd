"""How a model becomes an immutable version with its lineage."""
