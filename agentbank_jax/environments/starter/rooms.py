"""The closed lists from which the starter's houses are made: rooms, what stands in them, what lies where."""

from agentbank_jax.environments.household_world import Property

# Receptacle type: fewest and most of it in a room, in the order in which a room lists them.
ROOMS: dict[str, dict[str, tuple[int, int]]] = {
    "kitchen": {
        "cabinet": (1, 2),
        "countertop": (2, 3),
        "diningtable": (0, 1),
        "drawer": (1, 2),
        "fridge": (1, 1),
        "garbagecan": (1, 1),
        "microwave": (1, 1),
        "sinkbasin": (1, 1),
        "stoveburner": (1, 1),
    },
    "livingroom": {
        "armchair": (1, 2),
        "coffeetable": (1, 2),
        "drawer": (1, 1),
        "dresser": (1, 1),
        "garbagecan": (1, 1),
        "shelf": (1, 2),
        "sidetable": (1, 2),
        "sofa": (1, 1),
        "tvstand": (1, 1),
    },
    "bedroom": {
        "armchair": (0, 1),
        "bed": (1, 1),
        "desk": (1, 2),
        "drawer": (1, 2),
        "dresser": (1, 1),
        "garbagecan": (1, 1),
        "laundryhamper": (1, 1),
        "safe": (0, 1),
        "shelf": (1, 2),
        "sidetable": (1, 1),
    },
    "bathroom": {
        "bathtubbasin": (1, 1),
        "cabinet": (1, 2),
        "countertop": (1, 2),
        "drawer": (0, 1),
        "garbagecan": (1, 1),
        "handtowelholder": (1, 1),
        "shelf": (0, 1),
        "sinkbasin": (1, 2),
        "toilet": (1, 1),
        "toiletpaperhanger": (1, 1),
        "towelholder": (1, 1),
    },
}

# Object type: where it is usually found, likeliest first.
LIKELY_PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "kitchen": {
        "apple": ("countertop", "fridge"),
        "bread": ("countertop",),
        "egg": ("fridge", "sinkbasin"),
        "lettuce": ("fridge", "countertop"),
        "potato": ("sinkbasin", "countertop"),
        "tomato": ("countertop", "sinkbasin"),
        "bowl": ("cabinet",),
        "cup": ("sinkbasin", "cabinet"),
        "mug": ("countertop", "microwave"),
        "plate": ("cabinet", "countertop"),
        "pan": ("stoveburner", "countertop"),
        "fork": ("drawer", "countertop"),
        "knife": ("countertop", "drawer"),
        "spoon": ("drawer", "sinkbasin"),
    },
    "livingroom": {
        "creditcard": ("coffeetable", "drawer"),
        "keychain": ("sidetable", "drawer"),
        "newspaper": ("coffeetable", "armchair"),
        "pillow": ("sofa", "armchair"),
        "remotecontrol": ("tvstand", "sofa"),
        "statue": ("shelf", "dresser"),
        "vase": ("shelf", "tvstand"),
        "watch": ("dresser", "sidetable"),
        "desklamp": ("sidetable",),
    },
    "bedroom": {
        "alarmclock": ("shelf", "dresser"),
        "book": ("bed", "desk"),
        "cd": ("shelf", "desk"),
        "cellphone": ("bed", "sidetable"),
        "laptop": ("desk", "bed"),
        "pen": ("desk", "drawer"),
        "pencil": ("shelf", "drawer"),
        "teddybear": ("bed", "armchair"),
        "desklamp": ("desk", "sidetable"),
    },
    "bathroom": {
        "candle": ("countertop", "toilet"),
        "cloth": ("cabinet", "bathtubbasin"),
        "handtowel": ("handtowelholder",),
        "soapbar": ("sinkbasin", "bathtubbasin"),
        "soapbottle": ("countertop", "cabinet"),
        "toiletpaper": ("toiletpaperhanger", "toilet"),
        "towel": ("towelholder", "bathtubbasin"),
    },
}

# What goals may ask to be done to which objects.
CHANGEABLE: dict[Property, frozenset[str]] = {
    "clean": frozenset(
        {
            "apple",
            "bowl",
            "cloth",
            "cup",
            "egg",
            "fork",
            "knife",
            "lettuce",
            "mug",
            "pan",
            "plate",
            "potato",
            "soapbar",
            "spoon",
            "tomato",
        }
    ),
    "hot": frozenset({"apple", "bread", "cup", "egg", "mug", "plate", "potato", "tomato"}),
    "cool": frozenset({"apple", "bowl", "bread", "cup", "egg", "lettuce", "mug", "pan", "plate", "potato", "tomato"}),
}
# Fixtures that no goal asks to put things on.
NO_TARGETS = frozenset({"stoveburner", "handtowelholder", "towelholder", "toiletpaperhanger", "sinkbasin"})
