"""Networks, one per file, and the table that names them."""
