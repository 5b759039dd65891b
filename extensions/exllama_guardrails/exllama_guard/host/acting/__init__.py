"""Carries out what is to be done with a reply after its last token."""
