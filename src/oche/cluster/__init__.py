"""The client's side: a PEP 3148 executor, its inbox, its chunks and its journal."""
