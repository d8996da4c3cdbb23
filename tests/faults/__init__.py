"""What is done to the product on purpose, and what must hold while it is done."""
