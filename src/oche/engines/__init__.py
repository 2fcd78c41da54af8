"""Whatever stands behind a URL, each behind the same face."""
