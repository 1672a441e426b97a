"""The guard on google-genai."""
