"""What adapters to frameworks are made of."""
