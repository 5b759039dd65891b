"""Plain English that a language model reads well, for checks that must not depend on anybody's data."""

from __future__ import annotations

__all__ = ["LONG_ENGLISH", "PLAIN_ENGLISH"]

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

# The same story told on: what comes back from afar (the mill, the map, the clock) needs the right distances.
LONG_ENGLISH = (
    PLAIN_ENGLISH
    + """\
One of the guests, a teacher named Helen Marsh, had come to look for a map. Her grandfather had drawn it \
when he was the keeper of the mill, long before the mill became a hotel, and he had written on the back of \
it where the old copper mine was. Nobody in the family had ever seen the mine. Helen asked the owner of the \
hotel whether any papers of the keeper were left. The owner, whose name was Anna Berg, thought for a while. \
There was a wooden box under the roof, she said, and in the box there were letters, bills for flour, and a \
clock that had stopped at ten minutes past four. She did not remember a map, but she had never looked for \
one either.

They went up the stairs together. It was dark under the roof, and Anna held the lamp while Helen opened the \
box. The clock lay on top. Below it were the letters, tied with a red string, and below the letters the \
bills. Helen read the names of the farmers who had brought their wheat to the mill: Olsen, Lind, Berg, and \
Olsen again. At the bottom of the box there was nothing but dust. She was about to close the lid when Anna \
took the clock and turned it around. The back of the clock was held by four small screws, and one of them \
was newer than the others.

Anna fetched a knife from the kitchen. The screws were not tight. Inside the clock, folded many times, lay a \
sheet of thin paper, and when they had opened it on the floor they saw the river, the forest, the road and \
the first bridge. The map was older than the school and older than the post office, for neither of them was \
on it. A line of small crosses led from the first bridge along the river, then up through the forest to a \
place that was marked with the letter C. On the back of the map, in the hand of her grandfather, Helen read: \
"Two hours from the bridge. Do not go in winter, and do not go alone."

It was not winter, and she did not go alone. The next morning Anna closed the kitchen earlier than usual, \
told the guests that there would be only bread and cheese for dinner, and put on her boots. The baker, who \
knew the forest better than anybody else in the village, came with them and carried the rope. They followed \
the path along the river until they reached the first bridge. There the baker stopped and looked at the map. \
The path that the keeper had drawn was no longer there, he said, because the river had changed its course in \
the year of the great flood. But he knew where it must have been. He led them through high grass and then \
between the trees, and every few minutes he held the map against the light and counted the crosses.

After two hours they came to a wall of grey rock. In the middle of it there was a door made of iron, so low \
that even Helen, who was not tall, would have had to bend down. The letter C had been cut into the stone \
above it. The baker pushed the door, but it did not move. Anna sat down on a stone, took some bread and \
cheese out of her bag, and laughed. For forty years, she said, she had told her guests about the time of her \
grandmother, about the doctor who came on a horse, and about the evenings without electric light, and she \
had never known that there was a mine two hours from her own house. Helen was not listening. She had taken \
the clock out of her bag and was looking at the small key that hung inside it, where the map had been. It \
fitted the lock of the iron door.
"""
)
