"""Guards on the provider SDKs: no-ops until a session claims the calls made through them."""
