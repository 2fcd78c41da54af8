"""A node: slots that hold leases, children that compute, and the daemon around them."""
