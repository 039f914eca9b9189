"""The speedrun's own GPT: made for the fewest seconds on one thread of a CPU."""
