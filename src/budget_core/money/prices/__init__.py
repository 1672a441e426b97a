"""What a model is called, what it costs, and how long its answers may be."""
