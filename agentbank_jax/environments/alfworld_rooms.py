"""What stands in the rooms of made ALFWorld problems, what lies where, and what can be done to it.

Names of types, what a receptacle may hold (`HOLDS`), which rooms a task fits and what may be cleaned, heated and
cooled are ALFRED's (Shridhar et al. 2020, arXiv 1912.01734; `gen/constants.py` of github.com/alfworld/alfworld, MIT),
cut down to the types that occur here. How many of each stand in a room, and where things usually lie, is this project's
own.
"""

from dataclasses import dataclass


def _types(names: str) -> frozenset[str]:
    return frozenset(names.split())


OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
# Of these, what nobody leaves open.
SHUT = frozenset({"Fridge", "Microwave", "Safe"})
# What has room for one thing, so that no goal asks to put two there.
SINGLE = frozenset({"CoffeeMachine", "HandTowelHolder", "ToiletPaperHanger", "TowelHolder"})

# An id in ALFRED names a basin by what it belongs to, and ALFWorld reads it back from that.
BASINS = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}

CLEANABLE = _types(
    "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Knife Lettuce Mug Pan Plate Pot Potato SoapBar Spatula Spoon "
    "Tomato"
)
HEATABLE = _types("Apple Bread Cup Egg Mug Plate Potato Tomato")
COOLABLE = _types("Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle")
SLICEABLE = _types("Apple Bread Egg Lettuce Potato Tomato")
TOGGLEABLE = frozenset({"DeskLamp"})
CONTAINERS = _types("Bowl Box Cup Mug Pan Plate Pot")

_SEATS = "BasketBall Book Box CellPhone Cloth CreditCard KeyChain Laptop Newspaper Pillow RemoteControl"
_TABLES = (
    "AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife Candle CD CellPhone Cloth CreditCard Cup "
    "DishSponge Egg Fork HandTowel KeyChain Knife Laptop Lettuce Mug Newspaper Pan Pen Pencil PepperShaker Plate Pot "
    "Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon SprayBottle Statue TennisRacket TissueBox "
    "ToiletPaper Tomato Vase Watch WineBottle"
)
_DESKS = (
    "AlarmClock BasketBall Book Bowl Box Candle CD CellPhone Cloth CreditCard Cup KeyChain Laptop Mug Newspaper Pen "
    "Pencil Plate RemoteControl SprayBottle Statue TennisRacket TissueBox ToiletPaper Vase Watch WineBottle"
)

HOLDS: dict[str, frozenset[str]] = {
    name: _types(kinds)
    for name, kinds in {
        "ArmChair": _SEATS,
        "BathtubBasin": "Cloth DishSponge HandTowel SoapBar",
        "Bed": "BaseballBat BasketBall Book CellPhone Laptop Newspaper Pillow TennisRacket",
        "Cabinet": "Book Bowl Box Candle CD Cloth Cup DishSponge HandTowel Mug Newspaper Pan PepperShaker Plate Pot "
        "SaltShaker SoapBar SoapBottle SprayBottle TissueBox ToiletPaper Vase WineBottle",
        "CoffeeMachine": "Mug",
        "CoffeeTable": _TABLES,
        "CounterTop": _TABLES,
        "Desk": f"{_DESKS} SoapBottle",
        "DiningTable": _TABLES,
        "Drawer": "Book ButterKnife Candle CD CellPhone Cloth CreditCard DishSponge Fork HandTowel KeyChain Knife "
        "Newspaper Pen Pencil PepperShaker RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon SprayBottle "
        "TissueBox ToiletPaper Watch",
        "Dresser": _DESKS,
        "Fridge": "Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle",
        "GarbageCan": "Apple Bread CD Cloth DishSponge Egg HandTowel Lettuce Newspaper Pen Pencil Potato SoapBar "
        "SoapBottle SprayBottle TissueBox ToiletPaper Tomato WineBottle",
        "HandTowelHolder": "HandTowel",
        "LaundryHamper": "Cloth",
        "Microwave": "Apple Bowl Bread Cup Egg Mug Plate Potato Tomato",
        "Safe": "CD CellPhone CreditCard KeyChain Statue Vase Watch",
        "Shelf": "AlarmClock Book Bowl Box Candle CD CellPhone Cloth CreditCard Cup DishSponge HandTowel KeyChain Mug "
        "Newspaper Pen Pencil PepperShaker Plate Pot RemoteControl SaltShaker SoapBar SoapBottle SprayBottle Statue "
        "TissueBox ToiletPaper Vase Watch WineBottle",
        "SideTable": _TABLES,
        "SinkBasin": "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork HandTowel Knife Lettuce Mug Pan Plate Pot "
        "Potato SoapBar Spatula Spoon Tomato",
        "Sofa": _SEATS,
        "StoveBurner": "Pan Pot",
        "Toaster": "",
        "Toilet": "Candle Cloth DishSponge HandTowel Newspaper SoapBar SoapBottle SprayBottle TissueBox ToiletPaper",
        "ToiletPaperHanger": "ToiletPaper",
        "TowelHolder": "Towel",
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class Room:
    """A kind of room.

    Fields:
      receptacles: type → fewest and most of it.
      places: object type → the types of receptacle where it usually lies.
    """

    receptacles: dict[str, tuple[int, int]]
    places: dict[str, tuple[str, ...]]


def _room(receptacles: dict[str, tuple[int, int]], places: dict[str, str]) -> Room:
    return Room(receptacles=receptacles, places={kind: tuple(where.split()) for kind, where in places.items()})


ROOMS: dict[str, Room] = {
    "Kitchen": _room(
        {
            "Cabinet": (2, 5),
            "CoffeeMachine": (1, 1),
            "CounterTop": (1, 3),
            "DiningTable": (0, 1),
            "Drawer": (1, 4),
            "Fridge": (1, 1),
            "GarbageCan": (1, 1),
            "Microwave": (1, 1),
            "Shelf": (0, 2),
            "SinkBasin": (1, 1),
            "StoveBurner": (1, 3),
            "Toaster": (1, 1),
        },
        {
            "Apple": "CounterTop DiningTable Fridge GarbageCan SinkBasin",
            "Bowl": "Cabinet CounterTop DiningTable Fridge Shelf",
            "Bread": "CounterTop DiningTable Fridge",
            "ButterKnife": "CounterTop DiningTable Drawer SinkBasin",
            "Cup": "Cabinet CounterTop Fridge Microwave Shelf SinkBasin",
            "DishSponge": "Cabinet CounterTop Drawer SinkBasin",
            "Egg": "CounterTop Fridge GarbageCan Microwave SinkBasin",
            "Fork": "CounterTop DiningTable Drawer SinkBasin",
            "Knife": "CounterTop DiningTable Drawer SinkBasin",
            "Lettuce": "CounterTop DiningTable Fridge GarbageCan SinkBasin",
            "Mug": "Cabinet CoffeeMachine CounterTop Microwave Shelf SinkBasin",
            "Pan": "Cabinet CounterTop SinkBasin StoveBurner",
            "PepperShaker": "Cabinet CounterTop DiningTable Drawer Shelf",
            "Plate": "Cabinet CounterTop DiningTable Fridge Shelf SinkBasin",
            "Pot": "Cabinet CounterTop Fridge SinkBasin StoveBurner",
            "Potato": "CounterTop Fridge GarbageCan Microwave SinkBasin",
            "SaltShaker": "Cabinet CounterTop DiningTable Drawer Shelf",
            "SoapBottle": "Cabinet CounterTop Drawer GarbageCan",
            "Spatula": "CounterTop DiningTable Drawer SinkBasin",
            "Spoon": "CounterTop DiningTable Drawer SinkBasin",
            "Tomato": "CounterTop DiningTable Fridge Microwave SinkBasin",
            "Vase": "Cabinet CounterTop Shelf",
            "WineBottle": "Cabinet CounterTop DiningTable Fridge",
        },
    ),
    "LivingRoom": _room(
        {
            "ArmChair": (1, 2),
            "Cabinet": (0, 2),
            "CoffeeTable": (1, 2),
            "DiningTable": (0, 1),
            "Drawer": (1, 4),
            "Dresser": (0, 1),
            "GarbageCan": (1, 1),
            "Safe": (0, 1),
            "Shelf": (1, 4),
            "SideTable": (1, 3),
            "Sofa": (1, 1),
        },
        {
            "Book": "CoffeeTable DiningTable Drawer Shelf SideTable Sofa",
            "Bowl": "CoffeeTable DiningTable Shelf",
            "Box": "ArmChair CoffeeTable DiningTable Dresser Sofa",
            "Candle": "CoffeeTable Drawer Shelf SideTable",
            "CellPhone": "ArmChair CoffeeTable DiningTable Dresser SideTable Sofa",
            "CreditCard": "ArmChair CoffeeTable Drawer Dresser Shelf SideTable",
            "KeyChain": "ArmChair CoffeeTable Drawer Safe SideTable Sofa",
            "Laptop": "ArmChair CoffeeTable DiningTable Sofa",
            "Newspaper": "ArmChair CoffeeTable Drawer GarbageCan SideTable Sofa",
            "Pen": "CoffeeTable Drawer Shelf SideTable",
            "Pillow": "ArmChair Sofa",
            "Plate": "CoffeeTable DiningTable Shelf SideTable",
            "RemoteControl": "ArmChair CoffeeTable Drawer Dresser SideTable Sofa",
            "Statue": "CoffeeTable DiningTable Dresser Safe Shelf SideTable",
            "TissueBox": "Cabinet CoffeeTable Drawer SideTable",
            "Vase": "Cabinet CoffeeTable DiningTable Dresser Safe Shelf SideTable",
            "Watch": "CoffeeTable Drawer Dresser Safe Shelf SideTable",
        },
    ),
    "Bedroom": _room(
        {
            "ArmChair": (0, 1),
            "Bed": (1, 1),
            "Desk": (1, 2),
            "Drawer": (2, 5),
            "Dresser": (0, 1),
            "GarbageCan": (1, 1),
            "LaundryHamper": (0, 1),
            "Safe": (0, 1),
            "Shelf": (1, 4),
            "SideTable": (1, 2),
        },
        {
            "AlarmClock": "Desk Dresser Shelf SideTable",
            "BaseballBat": "Bed SideTable",
            "BasketBall": "ArmChair Bed Desk",
            "Book": "Bed Desk Drawer Dresser Shelf SideTable",
            "Bowl": "Desk Dresser Shelf SideTable",
            "CD": "Desk Drawer Dresser GarbageCan Safe Shelf",
            "CellPhone": "Bed Desk Drawer Dresser SideTable",
            "Cloth": "Desk Drawer Dresser LaundryHamper",
            "CreditCard": "Desk Drawer Dresser Shelf SideTable",
            "KeyChain": "Desk Drawer Dresser Safe Shelf SideTable",
            "Laptop": "Bed Desk",
            "Mug": "Desk Dresser Shelf SideTable",
            "Pen": "Desk Drawer Dresser GarbageCan Shelf SideTable",
            "Pencil": "Desk Drawer GarbageCan Shelf SideTable",
            "Pillow": "ArmChair Bed",
            "Statue": "Desk Dresser Safe Shelf",
            "TennisRacket": "Bed Desk Dresser",
            "TissueBox": "Desk Drawer Dresser Shelf SideTable",
            "Vase": "Desk Dresser Safe Shelf",
            "Watch": "Desk Drawer Dresser Safe Shelf",
        },
    ),
    "Bathroom": _room(
        {
            "BathtubBasin": (0, 1),
            "Cabinet": (2, 4),
            "CounterTop": (1, 2),
            "Drawer": (0, 3),
            "GarbageCan": (1, 1),
            "HandTowelHolder": (1, 2),
            "Shelf": (0, 2),
            "SideTable": (0, 1),
            "SinkBasin": (1, 2),
            "Toilet": (1, 1),
            "ToiletPaperHanger": (1, 1),
            "TowelHolder": (1, 1),
        },
        {
            "Candle": "Cabinet CounterTop Drawer Shelf SideTable Toilet",
            "Cloth": "BathtubBasin Cabinet CounterTop Drawer SideTable SinkBasin",
            "DishSponge": "BathtubBasin Cabinet CounterTop Drawer SinkBasin",
            "HandTowel": "Cabinet CounterTop GarbageCan HandTowelHolder SinkBasin",
            "SoapBar": "BathtubBasin Cabinet CounterTop Drawer GarbageCan SinkBasin Toilet",
            "SoapBottle": "Cabinet CounterTop Drawer GarbageCan Shelf Toilet",
            "SprayBottle": "Cabinet CounterTop Drawer GarbageCan Shelf Toilet",
            "TissueBox": "Cabinet CounterTop Drawer Shelf SideTable Toilet",
            "ToiletPaper": "Cabinet CounterTop Drawer Shelf Toilet ToiletPaperHanger",
            "Towel": "TowelHolder",
        },
    ),
}

# Where a lamp stands, in rooms that have one.
LAMP = "DeskLamp"
LAMP_PLACES: dict[str, tuple[str, ...]] = {
    "LivingRoom": ("CoffeeTable", "DiningTable", "Dresser", "SideTable"),
    "Bedroom": ("Desk", "Dresser", "Shelf", "SideTable"),
}
