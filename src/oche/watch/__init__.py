"""A cluster looked at from outside, as plain data; whatever shows it shows this and nothing else."""
