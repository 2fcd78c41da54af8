"""Public conformance kits for drivers and engines."""
