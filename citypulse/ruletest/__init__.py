"""Tests of rules, written in YAML: read, played on the live engine and desk, judged."""
