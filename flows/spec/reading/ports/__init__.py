"""Read inputs and outputs, and what is bound to them."""
