"""What travels, as frozen values without I/O: job, outcome, codec, signing, fingerprint."""
