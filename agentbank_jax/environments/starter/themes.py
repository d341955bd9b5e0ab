"""Themes of made-up databases: three tables each, with the closed lists and ranges that fill them."""

from dataclasses import dataclass
from typing import TypeGuard

from agentbank_jax.environments.starter import words

Numbers = tuple[int, int]
Categories = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A kind of table.

    Fields:
      name: of the table, a plural.
      one: the singular, from which its key is named.
      label: the column that names a row.
      leads, seconds: the words that make up the labels.
      columns: the other columns: a pair of integers is a range, a tuple of words is a closed list.
      parent: the table that each row belongs to.
    """

    name: str
    one: str
    label: str
    leads: tuple[str, ...]
    seconds: tuple[str, ...]
    columns: dict[str, Numbers | Categories]
    parent: str | None = None

    @property
    def key(self) -> str:
        return f"{self.one}_id"


def _people(name: str, one: str, parent: str | None = None, **columns: Numbers | Categories) -> Table:
    leads, seconds = words.FIRST_NAMES, words.SURNAMES
    return Table(name=name, one=one, label="name", leads=leads, seconds=seconds, columns=columns, parent=parent)


def _named(
    name: str,
    one: str,
    label: str,
    seconds: tuple[str, ...],
    parent: str | None = None,
    **columns: Numbers | Categories,
) -> Table:
    leads = words.LEADS
    return Table(name=name, one=one, label=label, leads=leads, seconds=seconds, columns=columns, parent=parent)


_COUNTRY = ("france", "spain", "italy", "japan", "canada", "brazil", "egypt", "india")
_COLOR = ("red", "blue", "green", "black", "white", "yellow")
_GENRE = ("jazz", "rock", "pop", "folk", "blues", "soul")
_LEVEL = ("low", "medium", "high")
_SIZE = ("small", "medium", "large")
_CITY = ("london", "paris", "rome", "tokyo", "cairo", "madrid")
_DAY = ("monday", "tuesday", "wednesday", "thursday", "friday", "sunday")
_SEASON = ("spring", "summer", "autumn", "winter")
_RANK = ("junior", "senior", "chief")
_AGE = (18, 70)
_YEAR = (1950, 2020)
_HOUSES = ("House", "Hall", "Tower", "Palace")

# Parents come before their children.
THEMES: dict[str, tuple[Table, Table, Table]] = {
    "music": (
        _people("artists", "artist", country=_COUNTRY, age=_AGE, genre=_GENRE, awards=(0, 30)),
        _named(
            "albums",
            "album",
            "title",
            words.WORKS,
            "artists",
            release_year=_YEAR,
            price=(5, 40),
            color=_COLOR,
            sales=(1, 90),
        ),
        _named(
            "concerts",
            "concert",
            "title",
            words.CITIES,
            "artists",
            city=_CITY,
            visitors=(50, 900),
            day=_DAY,
            price=(5, 60),
        ),
    ),
    "school": (
        _people(
            "teachers",
            "teacher",
            age=_AGE,
            subject=("math", "art", "music", "history", "sport"),
            salary=(20, 90),
            city=_CITY,
        ),
        _people(
            "students",
            "student",
            "teachers",
            age=(6, 18),
            grade=(1, 12),
            hobby=("chess", "dance", "tennis", "painting"),
            height=(110, 190),
        ),
        _named(
            "lessons",
            "lesson",
            "title",
            words.WORKS,
            "teachers",
            day=_DAY,
            minutes=(20, 90),
            room=(1, 40),
            level=_LEVEL,
        ),
    ),
    "library": (
        _people("authors", "author", country=_COUNTRY, age=_AGE, birth_year=(1900, 1990), prizes=(0, 20)),
        _named(
            "books",
            "book",
            "title",
            words.WORKS,
            "authors",
            pages=(80, 900),
            genre=("crime", "fantasy", "poetry", "travel"),
            language=("english", "french", "german", "spanish"),
            publish_year=_YEAR,
        ),
        _people("readers", "reader", age=_AGE, city=_CITY, books_read=(1, 80), level=_LEVEL),
    ),
    "shop": (
        _named(
            "suppliers",
            "supplier",
            "name",
            words.COMPANIES,
            country=_COUNTRY,
            staff=(5, 400),
            rating=(1, 10),
            founded_year=_YEAR,
        ),
        _named(
            "products",
            "product",
            "name",
            ("Lamp", "Chair", "Table", "Mirror", "Clock", "Bag"),
            "suppliers",
            color=_COLOR,
            price=(5, 300),
            stock=(0, 99),
            size=_SIZE,
        ),
        _people("customers", "customer", city=_CITY, age=_AGE, points=(0, 500), status=("new", "regular", "gold")),
    ),
    "hospital": (
        _people(
            "doctors", "doctor", specialty=("heart", "eyes", "skin", "bones"), age=_AGE, salary=(40, 200), rank=_RANK
        ),
        _people(
            "patients",
            "patient",
            "doctors",
            age=(1, 95),
            city=_CITY,
            blood_group=("a", "b", "ab", "o"),
            weight=(20, 120),
        ),
        _people("nurses", "nurse", shift=("day", "night", "evening"), age=_AGE, experience=(1, 30), city=_CITY),
    ),
    "airport": (
        _named(
            "airlines",
            "airline",
            "name",
            ("Airlines", "Wings", "Jets"),
            country=_COUNTRY,
            planes=(3, 200),
            founded_year=_YEAR,
            rating=(1, 10),
        ),
        _named(
            "flights",
            "flight",
            "code",
            ("Star", "Moon", "Arrow", "Cloud"),
            "airlines",
            destination=_CITY,
            distance=(100, 900),
            price=(30, 600),
            day=_DAY,
        ),
        _people("pilots", "pilot", "airlines", age=_AGE, rank=_RANK, flight_hours=(50, 900), country=_COUNTRY),
    ),
    "sports": (
        _named("teams", "team", "name", words.TEAMS, city=_CITY, wins=(0, 60), color=_COLOR, founded_year=_YEAR),
        _people(
            "players",
            "player",
            "teams",
            position=("goal", "defense", "middle", "attack"),
            age=(17, 40),
            goals=(0, 50),
            country=_COUNTRY,
        ),
        _people("coaches", "coach", "teams", age=_AGE, salary=(20, 200), country=_COUNTRY, trophies=(0, 20)),
    ),
    "farm": (
        _named(
            "farms",
            "farm",
            "name",
            ("Farm", "Ranch", "Meadow"),
            region=("north", "south", "east", "west"),
            area=(10, 500),
            owner_age=_AGE,
            soil=("sand", "clay", "loam"),
        ),
        _named(
            "fields",
            "field",
            "name",
            ("Field", "Garden", "Orchard"),
            "farms",
            crop=("corn", "wheat", "rice", "beans"),
            area=(2, 90),
            season=_SEASON,
            harvest=(5, 300),
        ),
        _people("workers", "worker", "farms", age=_AGE, wage=(8, 40), task=("driver", "picker", "guard"), rank=_RANK),
    ),
    "museum": (
        _named(
            "museums",
            "museum",
            "name",
            words.MUSEUMS,
            city=_CITY,
            visitors=(50, 900),
            ticket_price=(2, 40),
            opening_year=_YEAR,
        ),
        _named(
            "paintings",
            "painting",
            "title",
            words.WORKS,
            "museums",
            style=("modern", "classic", "abstract"),
            width=(20, 300),
            value=(1, 900),
            color=_COLOR,
        ),
        _people(
            "guides",
            "guide",
            "museums",
            language=("english", "french", "german", "spanish"),
            age=_AGE,
            tours=(1, 90),
            rank=_RANK,
        ),
    ),
    "hotel": (
        _named(
            "hotels",
            "hotel",
            "name",
            ("Hotel", "Inn", "Lodge"),
            city=_CITY,
            stars=(1, 5),
            rooms=(8, 300),
            built_year=_YEAR,
        ),
        _people(
            "guests", "guest", "hotels", country=_COUNTRY, age=_AGE, nights=(1, 20), payment=("cash", "card", "check")
        ),
        _people(
            "cooks",
            "cook",
            "hotels",
            salary=(20, 90),
            specialty=("soup", "fish", "bread", "cake"),
            age=_AGE,
            rank=_RANK,
        ),
    ),
    "cinema": (
        _people("directors", "director", country=_COUNTRY, age=_AGE, awards=(0, 30), debut_year=_YEAR),
        _named(
            "films",
            "film",
            "title",
            words.WORKS,
            "directors",
            genre=("comedy", "drama", "horror", "western"),
            minutes=(60, 240),
            budget=(1, 300),
            rating=(1, 10),
        ),
        _named(
            "theaters",
            "theater",
            "name",
            ("Cinema", "Theater", "Palace"),
            city=_CITY,
            seats=(40, 900),
            screens=(1, 20),
            size=_SIZE,
        ),
    ),
    "zoo": (
        _people("keepers", "keeper", age=_AGE, experience=(1, 30), shift=("day", "night", "evening"), salary=(20, 90)),
        _named(
            "animals",
            "animal",
            "name",
            ("Lion", "Bear", "Zebra", "Panda", "Snake"),
            "keepers",
            weight=(1, 900),
            food=("meat", "grass", "fruit", "fish"),
            age=(1, 40),
            origin=("africa", "asia", "europe"),
        ),
        _named("cages", "cage", "name", _HOUSES, area=(5, 300), size=_SIZE, built_year=_YEAR, color=_COLOR),
    ),
    "company": (
        _named(
            "departments",
            "department",
            "name",
            ("Office", "Lab", "Studio"),
            city=_CITY,
            budget=(10, 900),
            floor=(1, 40),
            size=_SIZE,
        ),
        _people("employees", "employee", "departments", age=_AGE, salary=(20, 200), rank=_RANK, experience=(1, 30)),
        _named(
            "projects",
            "project",
            "title",
            words.WORKS,
            "departments",
            status=("open", "closed", "planned"),
            cost=(5, 500),
            months=(1, 36),
            level=_LEVEL,
        ),
    ),
    "river": (
        _named(
            "rivers",
            "river",
            "name",
            words.RIVERS,
            country=_COUNTRY,
            length=(20, 900),
            depth=(1, 60),
            climate=("dry", "mild", "wet"),
        ),
        _named(
            "bridges",
            "bridge",
            "name",
            ("Bridge", "Crossing"),
            "rivers",
            material=("wood", "stone", "steel"),
            width=(3, 50),
            built_year=_YEAR,
            length=(10, 900),
        ),
        _named(
            "boats",
            "boat",
            "name",
            ("Arrow", "Swan", "Star", "Queen"),
            "rivers",
            color=_COLOR,
            speed=(5, 60),
            seats=(2, 200),
            kind=("ferry", "sail", "motor"),
        ),
    ),
}

# Over these no query is ever seen in training.
UNSEEN_THEMES: dict[str, tuple[Table, Table, Table]] = {
    "theater": (
        _people("actors", "actor", country=_COUNTRY, age=_AGE, awards=(0, 30), height=(150, 200)),
        _named(
            "plays",
            "play",
            "title",
            words.WORKS,
            "actors",
            minutes=(40, 200),
            season=_SEASON,
            price=(5, 90),
            genre=("comedy", "drama"),
        ),
        _people("dancers", "dancer", style=("modern", "classic"), age=_AGE, level=_LEVEL, shows=(1, 90)),
    ),
    "garage": (
        _people("drivers", "driver", country=_COUNTRY, age=_AGE, points=(0, 500), wins=(0, 60)),
        _named(
            "cars",
            "car",
            "name",
            ("Arrow", "Star", "Eagle", "Storm"),
            "drivers",
            color=_COLOR,
            speed=(90, 300),
            price=(5, 300),
            doors=(2, 5),
        ),
        _named(
            "races", "race", "title", words.CITIES, city=_CITY, distance=(50, 900), season=_SEASON, visitors=(50, 900)
        ),
    ),
    "bakery": (
        _named(
            "bakeries",
            "bakery",
            "name",
            ("Bakery", "Oven", "Kitchen"),
            city=_CITY,
            staff=(2, 60),
            rating=(1, 10),
            opening_year=_YEAR,
        ),
        _named(
            "cakes",
            "cake",
            "name",
            ("Cake", "Pie", "Tart"),
            "bakeries",
            flavor=("lemon", "apple", "cherry"),
            price=(3, 60),
            weight=(1, 20),
            size=_SIZE,
        ),
        _people("bakers", "baker", "bakeries", age=_AGE, wage=(8, 40), rank=_RANK, experience=(1, 30)),
    ),
}

# How a question may speak of a column where it does not use the column's own words.
WORDINGS: dict[str, str] = {
    "awards": "number of awards",
    "sales": "number of sales",
    "visitors": "number of visitors",
    "minutes": "length in minutes",
    "pages": "number of pages",
    "staff": "number of staff",
    "stock": "number in stock",
    "planes": "number of planes",
    "goals": "number of goals",
    "wins": "number of wins",
    "rooms": "number of rooms",
    "nights": "number of nights",
    "seats": "number of seats",
    "months": "time in months",
    "release_year": "year of release",
    "publish_year": "year of publishing",
    "built_year": "year in which it was built",
    "books_read": "number of books read",
}


def is_number(domain: Numbers | Categories) -> TypeGuard[Numbers]:
    """Whether a column's values are numbers."""
    return isinstance(domain[0], int)


_SINGULARS = {table.name: table.one for tables in (*THEMES.values(), *UNSEEN_THEMES.values()) for table in tables}


def parent_key(table: Table) -> str:
    """The column of `table` that refers to its parent."""
    return f"{_SINGULARS[table.parent or '']}_id"
