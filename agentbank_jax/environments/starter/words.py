"""Closed lists of common words, from which every name in the starter's worlds is composed.

The families of reasoning, math and programming share them, so that a small vocabulary has a token
for each word, and so that a test name is a new combination of words that training has shown.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "Alice Anna Arthur Bella Carl Clara Daniel David Diana Edward Ella Emma Eric Eva Felix Frank George Grace "
    "Hannah Helen Henry Hugo Ida Irene Jack James Jane John Julia Karen Laura Leo Lily Linda Lucas Lucy Maria Mark "
    "Martin Mary Max Nina Nora Oliver Oscar Paul Peter Robert Rosa Ruth Sam Sarah Simon Sofia Thomas Tom Vera Victor "
    "Walter William"
)

SURNAMES = _words(
    "Archer Baker Barker Bell Bishop Black Brook Brown Butcher Carter Carver Castle Church Cook Cooper Cross Dean "
    "Draper Farmer Field Fisher Forest Fox Gardener Glover Gray Green Hall Hunter Hill King Knight Lamb Lane Marsh "
    "Mason Miller Moss North Page Parker Piper Pool Potter Price Reed Rivers Sailor Shepherd Singer Smith Snow Stone "
    "Taylor Turner Walker Weaver West White Wood"
)

# The first word of places, works and organisations; the second says which kind of thing it is.
LEADS = _words(
    "Amber Ancient Autumn Blue Bright Broken Bronze Cedar Copper Coral Crimson Crystal Distant Eastern Emerald Empty "
    "Frozen Gentle Golden Happy Hidden Hollow Iron Ivory Lonely Maple Midnight Misty Morning Northern Olive Orange "
    "Pine Purple Quiet Royal Sacred Scarlet Secret Silent Silver Southern Stormy Sunny Velvet Western Wild Winter"
)

WORKS = _words(
    "Arrow Book Bottle Candle Circle Clock Cloud Crown Dance Dream Feather Flame Garden Horse Island Journey Key Kiss "
    "Ladder Lantern Letter Mirror Moon Mountain Night Ocean Promise Rain Ring Road Rose Shadow Ship Song Star Storm "
    "Summer Thunder Voice Window"
)

CITIES = _words("Bay Bridge Cove Falls Ford Gate Grove Harbor Haven Hills Point Port Valley Village")
COMPANIES = _words("Airlines Bank Bakery Foods Glass Insurance Motors Press Steel Tools")
RIVERS = ("River", "Creek", "Stream")
LAKES = ("Lake", "Lagoon")
REGIONS = ("Province", "Republic", "County")
MUSEUMS = ("Museum", "Gallery")
SCHOOLS = ("School", "College", "Academy")
TEAMS = _words("Bears Eagles Lions Sharks Tigers Wolves")

FRUITS = _words("apples pears oranges lemons plums cherries")
GOODS = FRUITS + _words(
    "books cards coins stamps marbles pencils pens stickers toys shells stones cookies muffins buttons"
)
PLANTS = _words("roses tulips beans carrots onions potatoes tomatoes peppers")
