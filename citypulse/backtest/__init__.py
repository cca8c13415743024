"""What a configuration would have done: trials over recorded readings, their report, budget and suggestions."""
