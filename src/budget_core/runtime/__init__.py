"""What Python itself makes us do: lazy imports, forks, finalizers, waiting."""
