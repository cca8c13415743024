"""Proof after the fact: one incident in one file, photographs by hash, why a rule rang or did not."""
