"""Who is called: rotas, stand-ins, chains, coverage, and the days people work."""
