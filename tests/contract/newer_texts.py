"""What is asked, found and thought in newer_scenarios.py, and looked for in what was seen."""

HITS = [
    {
        "title": "Fences, explained",
        "url": "https://example.org/fences",
        "snippet": "A warm-up fence waits for two equal runs.",
    },
    {
        "title": "Rotation",
        "url": "https://example.org/rotation",
        "snippet": "A cache is rotated after 8192 tokens.",
    },
]
PAGE = "A warm-up fence waits for two equal runs before it opens to requests."
THOUGHT = "The user asks for the fence, so the log of all its runs has to be read with the tool first."
LINES = ("The warm-up fence runs ten tokens.", "It is repeated until two ratios agree.")
TEXT_FILES = {"notes.txt", "notes.md", "notes.csv", "notes.html"}
CHUNK = "A warm-up fence repeats a dummy batch until two ratios lie between 0.8 and 1.25."
