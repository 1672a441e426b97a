"""What the provider charges for what it does not sell by the token, in nano-dollars a unit."""

from __future__ import annotations

BATCH = "batch"
"""The model of a batch, whatever models it names."""

BATCHES = {BATCH: 10_000_000}
"""A batch: one cent, now; its work is never done."""

IMAGES = {"dall-e-2": 20_000_000, "dall-e-3": 40_000_000}
"""An image, of any size."""

MODERATIONS = {"omni-moderation": 0, "text-moderation": 0}

SPEECH = {"tts-1": 15_000, "tts-1-hd": 30_000}
"""A character."""

TRANSCRIPTIONS = {"whisper-1": 6_000_000}
"""A recording, taken to last one minute."""
