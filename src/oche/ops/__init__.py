"""What keeps a farm in health: the doctor."""
