"""titleshot's shell: everything that touches the world around the judge."""
