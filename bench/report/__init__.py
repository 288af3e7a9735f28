"""Results: how they are written, and the numbers, tables and figures made of them alone."""
