"""What a version brings with it from its training, read as text: nothing here asks a registry."""
