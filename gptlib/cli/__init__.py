"""The command line: `gptlib progress`. One file a verb."""
