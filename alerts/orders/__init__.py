"""Work orders: their table, the steps, the clocks, the witnesses, the book that keeps them."""
