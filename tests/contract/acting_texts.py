"""What is asked, found and answered in acting_program.py, and looked for in what it prints."""

PASSAGE = "The fence waits for two equal runs. Then it opens."
FAR = "Completely unrelated words about bananas, monkeys, jungles, ripeness, vitamins."
QUESTION = "What does the fence do?"
WRONG = "It paints elephants purple <b>every</b> [Friday](http://example.org)."
RIGHT = "The fence waits for two equal runs. Then it opens."
