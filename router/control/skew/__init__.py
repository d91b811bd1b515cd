"""Live requests beside what a version was trained on, off the request path: contract and drift."""
