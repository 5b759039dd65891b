"""What to do with an answer because of its verdict, and the texts that this takes."""
