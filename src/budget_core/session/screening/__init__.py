"""What prompts hold, and what leaves a session's own baseline."""
