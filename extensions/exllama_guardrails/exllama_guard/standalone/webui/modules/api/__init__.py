"""The OpenAI-like API of the stand-in."""
