"""Plain English that a language model reads well, for checks that must not depend on anybody's data."""

from __future__ import annotations

__all__ = ["PLAIN_ENGLISH"]

PLAIN_ENGLISH = """\
The village lies at the end of a long valley, between a river and a forest. In winter the road is often \
closed by snow, and the people who live there buy their food in autumn. There is a small school with two \
teachers, a bakery, and a post office that opens on Mondays and Thursdays. In summer many visitors come \
to walk in the mountains. They sleep in the old mill, which was turned into a hotel twenty years ago. \
The owner of the hotel was born in the village. As a young woman she worked in the capital, first as a \
cook and later as the manager of a large restaurant. When her father became ill, she came back and \
decided to stay. She says that she has never regretted it. In the evening she sits in front of the house \
and tells her guests about the time when there was no electric light, and when the doctor came on a \
horse. The guests listen, drink a glass of wine, and look at the stars, which are brighter here than in \
any town. Early the next morning they put on their boots, take some bread and cheese, and follow the \
path along the river until they reach the first bridge.
"""
