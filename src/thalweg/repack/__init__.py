"""Other people's forms into packed, memory-mapped scenes, and scenes back into plain chips; both verified."""
