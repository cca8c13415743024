"""From a notice to a person: the outbox, digests, fail-over, links and replies."""
