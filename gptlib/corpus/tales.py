"""The words and plots of the second volume, in the notation of `gptlib.corpus.grammar`.

Given, not built. Two or three children, two rules of the house, and a tale that holds up to two
more: what is opened must be closed, and what was said before the tale is asked after it. So a skill
is tested near and far. Words that both volumes use stand in `storybook`.
"""

from collections.abc import Callable
from itertools import combinations, pairwise, permutations, product
from random import Random

from gptlib.corpus import storybook
from gptlib.corpus.grammar import Memory, Row
from gptlib.corpus.storybook import rows_of

TABLES = {
    "kin": """
        cousins, neighbours, best friends, old friends, twins, rivals, schoolmates, explorers""",
    "since": """
        since they could walk, for seven winters, ever since a game of tag, since the great flood,
        since they were born, ever since
        a fair in spring""",
    "habit": """
        ate soup together, rowed on the lake, fed the same donkey, read by one lamp, swept the
        yard, played chess with beans""",
    "dislike": """
        spinach, thunder, long sums, cold baths, early mornings, itchy socks""",
    "item": """
        rope, candle, map, spade, pillow, mirror, kettle, compass, hammer, loaf, jar, ladder,
        brush, saw, needle, tent, telescope, sponge, apron, axe, broom, cushion, flute, net""",
    "luggage": """
        bag, box, basket, chest, sack, trunk""",
    "landmark": """
        the mill, the well, the oak, the church, the forge, the bridge, the pond, the inn, the
        barn, the stile, the fountain, the signpost, the orchard, the school, the ruin, the
        ferry""",
    "goal": """
        the end of the rainbow, the blue rose, the singing well, the silver bell, the oldest
        tree, the lost crown, the smallest star, the warm wind, the golden goose, the last
        dragon, the book of answers, the hidden valley, the honest mirror, the floating stone,
        the door without a wall, the river of milk, the sleeping giant, the first snow, the
        white stag, the laughing fish, the forgotten song, the castle of clouds, the key to the
        moon, the talking pear""",
    "where": """
        On the road, In a wood, At an inn, By a river, On a bridge, In the snow, At a fair, Under
        an oak""",
    "search": """
        asked at every door, looked high and low, searched a year and a day, wore out three
        pairs of shoes, asked the birds, crossed nine rivers""",
    "lamp": """
        red, green, blue, white, yellow, violet, orange, pink, golden, purple""",
    "meaning": """
        all is well, bring bread, a storm is near, come at once, stay at home, the ship is late,
        send a doctor, the fish are biting, there is news, the tea is ready, hide the cheese,
        beware of the goat, bring a ladder, the baby is asleep""",
    "door": """
        oak, iron, glass, paper, copper, straw, stone, silver, ivory, wicker""",
    "behind": """
        a garden, a steep stair, a cupboard, a very small room, another door, a sleeping cat, the
        sea, a shelf of jam""",
    "treat": """
        the cake, the pie, the melon, the pudding, the cheese, the gingerbread""",
    "feast": """
        the harvest supper, the lantern feast, the spring fair, the wedding, the boat race, the
        apple dance""",
    "guest": """
        an uncle, an aunt, the piper, a grandmother, the clockmaker, a famous cook, the dentist, a
        very tall lady""",
    "lock": """
        the cellar, the boat, the garden gate, the attic, the music box, the pantry""",
    "weekday": """
        Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday""",
    "days": """
        two, three, four, five, six""",
    "sign": """
        the clock struck, the dog barked, the kettle sang, the door creaked, the owl called, the
        bell rang, the wind howled, the cat yawned, the fire crackled, the stairs groaned, the
        cock crowed, the baby sneezed""",
    "deed": """do
        clapped twice | clap twice
        turned around | turn around
        sat on the floor | sit on the floor
        closed one eye | close one eye
        hopped once | hop once
        bowed to the lamp | bow to the lamp
        stood on one leg | stand on one leg
        touched the wall | touch the wall
        whispered a name | whisper a name
        counted to ten | count to ten
        held their ears | hold your ears
        tapped the table | tap the table""",
    "person": """child
        queen, weaver, baker, fiddler, gardener, princess, goose girl, nun, sailor, spinner | girl
        potter, witch | girl
        king, tailor, fisherman, monk, smith, prince, carpenter, cook, soldier, hunter | boy
        beggar, painter | boy""",
}

# A town is named in one story of 960; what its bell is made of stands nowhere else.
TOWN_BEGINS = (
    "Ash Birch Cold Deep Elder Fern Goose Hazel Iron Juniper King Lark Maple North Otter Pine"
)
TOWN_ENDS = "by ford ham mouth wick dale bridge well field haven ton stead gate moor cliff"
BELLS = "glass tin oak clay brass ice paper bone silver straw stone wax iron amber shell leather"


def _towns() -> list[Row]:
    rng, bells = Random(2), BELLS.split()
    return [
        {"text": a + b, "bell": bells[int(rng.random() * len(bells))]}
        for a, b in product(TOWN_BEGINS.split(), TOWN_ENDS.split())
    ]


def _listed(parts: list[str]) -> str:
    """_listed(["a", "b", "c"]) -> "a, b and c" """
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _picks(slot: str, table: str, n: int, form: str = "") -> list[str]:
    """n different rows of a table, as slots slot1, slot2, …"""
    return [
        f"{{{slot}{i}{form}={table}" + "".join(f"-{slot}{j}" for j in range(1, i)) + "}"
        for i in range(1, n + 1)
    ]


# --- a tale of one to three levels


def _tale(teller: str) -> str:
    return (
        f" When it grew dark, {{{teller}}} began a tale. There [was once|lived long ago]"
        f" {{p1.a=person}} who looked for {{g1=goal}}.<way1> And there {{{teller}~teller}} stopped."
    )


def _found(level: int) -> str:
    return (
        f" {{p{level}.She}} {{=search}} for {{g{level}~}}, and at last {{p{level}.she~}} found"
        f" {{g{level}~}}."
    )


def _inner(level: int, way: str) -> str:
    """On the way, somebody (q) tells of somebody else (p) who looks for something, too."""
    below = range(1, level)
    met = "".join(f"-p{i}" for i in below) + "".join(f"-q{i}" for i in below if i > 1)
    p, q, outer = f"p{level}", f"q{level}", f"p{level - 1}"
    return (
        f" {{=where}} {{{outer}.she~}} met {{{q}.a=person{met}}}, who began a tale."
        f" There was {{{p}.a=person{met}-{q}}} who looked for"
        f" {{g{level}=goal{''.join(f'-g{i}' for i in below)}}}.<{way}>"
        f" And there the {{{q}~}} stopped. The {{{outer}~traveller}} thanked the {{{q}~}}, went on"
        f" and found {{g{level - 1}~}}."
    )


# --- plots: what is said before the tale, and asked after it


def _packing(n: int) -> str:
    bag = " {a} packed a {bag=luggage}: " + _listed(_picks("i", "item", n, ".a")) + ".<middle>"
    return bag + f" In the morning {{a}} unpacked the {{bag~}}<out{n}>"


def _unpacking(n: int) -> list[str]:
    first = _listed([f"the {{i{i}~order}}" for i in range(1, n + 1)])
    last = _listed([f"the {{i{i}~backwards}}" for i in range(n, 0, -1)])
    return [f" in the same order: {first}.", f" from the top: {last}."]


def _walk(n: int) -> str:
    turns = [
        f"{{t{i}=turn}} at {mark}" for i, mark in enumerate(_picks("l", "landmark", n), start=1)
    ]
    back = [f"{{t{i}.back~turn}} at {{l{i}~backwards}}" for i in range(n, 0, -1)]
    return (
        f" {{a}} had learned the way to {{=feast}}: {_listed(turns)}.<middle>"
        f" At dawn {{a}} came home by the same way: {_listed(back)}."
    )


def _key(n: int) -> str:
    beds = [
        f"{the} {pick}"
        for the, pick in zip(("The", "the", "the"), _picks("x", "animal", 3), strict=True)
    ]
    spots = ["{y1=place-pa-pb}", "{y2=place-pa-pb-y1}", "{y3=place-pa-pb-y1-y2}"]
    slept = _listed([f"{bed} slept {spot}" for bed, spot in zip(beds, spots, strict=True)])
    return (
        f" {slept}. The key to {{lock=lock}} lay where the {{x{n}}} slept.<middle>"
        f" Now they needed the key to {{lock~}}. They looked {{y{n}~key}}, and there it was."
    )


def _sums() -> list[str]:
    jar = (
        " In the [jar|tin|chest] there were {n1=store} {food.many=food}."
        " The {thief=animal} [took|ate|hid] {n2=share}, and {b} counted:"
        " {n1~} take away {n2~} leaves {less~}.<middle>"
        " In the morning [the postman|a kind aunt|the baker] brought {n3=share} more."
        ' "{less~number} and {n3~} make {less_more~} {food.many~}," said {a}.'
    )
    tree = (
        " In the [yard|shed|loft] there were {n1=store} {food.many=food}."
        " {a} [picked|found|bought] {n2=share} more, and {b} counted:"
        " {n1~} and {n2~} make {more~}.<middle>"
        " In the morning [the goats|the guests|the ants] had taken {n3=share}."
        ' "{more~number} take away {n3~} leaves {more_less~} {food.many~}," said {a}.'
    )
    return [jar, tree]


def _missing() -> list[str]:
    return [
        f" All three were asked to {{feast=feast}}.{{@missing}} {{{x}}} came early, and {{{y}}}"
        f" came late.<middle> When {{feast~}} was nearly over, somebody knocked. It was"
        f" {{{z}~missing}}, who had [lost the way|fallen asleep|missed the boat|mended a shoe]."
        for x, y, z in permutations("abc")
    ]


def _ranks() -> list[str]:
    said = {
        "older": " {%s} was older than {%s}, and {%s} was older than {%s}.",
        "younger": " {%s} was younger than {%s}, and {%s} was younger than {%s}.",
    }
    wordings = []
    for (x, y, z), first in product(permutations("abc"), (True, False)):
        older = [(x, y), (y, z)] if first else [(y, z), (x, y)]
        pairs = older if first else [(b, a) for a, b in older]
        told = said["older" if first else "younger"] % (*pairs[0], *pairs[1])
        wordings.append(
            f"{{@rank}}{told}<middle> Then {{treat=treat}} was brought in. The eldest,"
            f" {{{x}~rank}}, cut {{treat~}}, the youngest, {{{z}~rank}}, took the first slice, and"
            f" {{{y}~rank}} took the last."
        )
    return wordings


def _swaps() -> list[str]:
    pairs = list(combinations("abc", 2))
    wordings = []
    for n in (2, 3):
        for swaps in product(pairs, repeat=n):
            if any(one == other for one, other in pairwise(swaps)):
                continue
            holds = dict(zip("abc", "abc", strict=True))
            for x, y in swaps:
                holds[x], holds[y] = holds[y], holds[x]
            told = " Then ".join(f"{{{x}}} and {{{y}}} swapped." for x, y in swaps[:-1])
            last = "{{{}}} and {{{}}}".format(*swaps[-1])
            end = [f"{{{x}}} the {{c{holds[x]}~owner}} {{t{holds[x]}~}}" for x in "abc"]
            end[0] = end[0].replace("} the", "} had the")
            wordings.append(
                f"{{@owner}} {told}<middle> In the morning {last} swapped."
                f" So in the end {_listed(end)}."
            )
    return wordings


def _lamps() -> list[str]:
    lights = _picks("c", "lamp", 3)
    means = _picks("m", "meaning", 3)
    told = _listed([f"{c} for '{m}'" for c, m in zip(lights, means, strict=True)])
    return [
        f" The keeper on the island spoke by lamps: {told}.<middle>"
        f" Before dawn {{c{n}.a}} lamp shone over the water. \"'{{m{n}~signal}}'\" read {{b}}."
        for n in (1, 2, 3)
    ]


def _doors() -> list[str]:
    doors = _listed(_picks("o", "door", 4))
    return [
        f" In the cellar were four doors, of {doors}. The {{o{w}}} one and the {{o{x}}} one were"
        f" locked.<middle> In the morning they tried the {{o{y}}} one. Locked, too. So it had to be"
        f" the {{o{z}~door}} one, and behind it was {{=behind}}."
        for w, x, y, z in permutations((1, 2, 3, 4))
    ]


PLOTS = {
    "packing": ["<two>" + _packing(n) + "<kept>" for n in (3, 4, 5)],
    "walk": ["<two>" + _walk(n) + "<kept>" for n in (3, 4)],
    "key": ["<two>" + _key(n) + "<kept>" for n in (1, 2, 3)],
    "sum": ["<two>" + wording + "<kept>" for wording in _sums()],
    "visit": [
        "<two> On {day=weekday} a letter came. It said: in {wait=days} days I shall be with you."
        "<middle> When the guest stood at the door, it was {arrival~}, as promised."
        " It was {=guest}, who stayed for {stay=days} days and left on {leaving~}.<kept>"
    ],
    "lamps": ["<two>" + wording + "<kept>" for wording in _lamps()],
    "doors": ["<two>" + wording + "<kept>" for wording in _doors()],
    "missing": ["<three>" + wording + "<held>" for wording in _missing()],
    "rank": ["<three>" + wording + "<held>" for wording in _ranks()],
    "swaps": ["<three>" + wording + "<night>" for wording in _swaps()],
}

_KEPT = [
    "{a} looked {pa~}, where the {ca~} {ta~} was",
    "{b} looked {pb~}, where the {cb~} {tb~} was",
]
_HELD = {x: f"{{{x}}} %s the {{c{x}~}} {{t{x}~}}" for x in "abc"}

RULES = {
    "story": [f"<{plot}>" for plot in PLOTS],
    **PLOTS,
    "two": [
        "{a=name} and {b=name-a} were {=kin} and lived {home=home}.<known>"
        " {a} kept {ca.a=colour} {ta=thing} {pa=place}, and {b} kept {cb.a=colour-ca} {tb=thing-ta}"
        " {pb=place-pa}. {a} was proud of the {ca~} {ta~}, {b} of the {cb~} {tb~}.<rules>",
    ],
    "three": [
        "{a=name}, {b=name-a} and {c=name-a-b} were {=kin} and lived {home=home}.<known>"
        " {a} had {ca.a=colour} {ta=thing}, {b} had {cb.a=colour-ca} {tb=thing-ta}, and {c} had"
        " {cc.a=colour-ca-cb} {tc=thing-ta-tb}.<rules>",
    ],
    "known": [
        " They came from {town=town}, where the bell is made of {town.bell~}.",
        " They had known each other {=since}.",
        " Every evening they {=habit}.",
        " Nobody in the house liked {=dislike}.",
    ],
    "rules": [
        " The house had two rules: when {s1=sign}, you had to {d1.do=deed}, and when {s2=sign-s1},"
        " you had to {d2.do=deed-d1}. {b} said it over: {s1~}, {d1.do~}; {s2~}, {d2.do~}.",
    ],
    "call": [
        " [Just then|All at once] {s1}, so they {d1~}.",
        " [Just then|All at once] {s2}, so they {d2~}.",
        " For a while [the house was still|nobody spoke|nothing happened].",
    ],
    "middle": ["<tale><call>"],
    "tale": [_tale("a"), _tale("b")],
    "way1": [_found(1), _inner(2, "way2"), _inner(2, "deep2")],
    "way2": [_found(2)],
    "deep2": [_inner(3, "way3")],
    "way3": [_found(3)],
    **{f"out{n}": _unpacking(n) for n in (3, 4, 5)},
    "kept": [
        f"<call> Before they slept, {_KEPT[i]}, and {_KEPT[1 - i]}, too.<night>" for i in (0, 1)
    ],
    "held": [
        f"<call> In their sleep, {_HELD[x] % 'held'}, {_HELD[y] % 'hugged'} and"
        f" {_HELD[z] % 'squeezed'}.<night>"
        for x, y, z in ("abc", "cab", "bca")
    ],
    "night": [
        " That night, {home.back~}, {a} dreamed of {w=dream} and {b} of {=dream-w}.",
        " And that was the [longest|shortest|best|oddest] day of the year {home.back~}.",
        " Years later, {home.back~}, {b} told it all to {=listener}.",
    ],
}

SHARED = ("name", "home", "colour", "thing", "place", "animal", "food", "dream", "listener")
ROWS: dict[str, list[Row]] = {
    **{name: storybook.ROWS[name] for name in SHARED},
    **{name: rows_of(source) for name, source in TABLES.items()},
    "turn": [{"text": "left", "back": "right"}, {"text": "right", "back": "left"}],
    "town": _towns(),
    "store": [{"text": str(n)} for n in range(41, 71)],
    "share": [{"text": str(n)} for n in range(11, 30)],
}


def _sum(*signs: int) -> tuple[tuple[str, ...], Callable[[Memory], Row]]:
    """What follows from n1, n2, …: n1, and each of the others added or taken away."""
    slots = tuple(f"n{i}" for i in range(1, len(signs) + 2))

    def row(memory: Memory) -> Row:
        first, *others = (int(memory[slot]["text"]) for slot in slots)
        return {"text": str(first + sum(s * n for s, n in zip(signs, others, strict=True)))}

    return slots, row


def _weekday(*waits: str) -> tuple[tuple[str, ...], Callable[[Memory], Row]]:
    """The weekday that follows `day` after the days of each of `waits`."""

    def row(memory: Memory) -> Row:
        days = ROWS["weekday"].index(memory["day"])
        days += sum(ROWS["days"].index(memory[wait]) + 2 for wait in waits)
        return ROWS["weekday"][days % 7]

    return ("day", *waits), row


# What follows from what was said: the slots it needs, and the row that follows.
COMPUTED = {
    "less": _sum(-1),
    "more": _sum(1),
    "less_more": _sum(-1, 1),
    "more_less": _sum(1, -1),
    "arrival": _weekday("wait"),
    "leaving": _weekday("wait", "stay"),
}

# What a reader must be able to do to write on at a labelled place, where the place does not say it.
SKILLS = {
    **{f"c{hero}": "colour" for hero in "abc"},
    **{f"t{hero}": "thing" for hero in "abc"},
    **{f"p{hero}": "place" for hero in "ab"},
    **{f"p{level}.she": "pronoun" for level in (1, 2, 3)},
    **{f"g{level}": "quest" for level in (1, 2, 3)},
    **{f"q{level}": "teller" for level in (2, 3)},
    **{slot: "number" for slot in ("n1", "n2", "n3")},
    **{slot: "sum" for slot in ("less", "more", "less_more", "more_less")},
    **{slot: "thing" for slot in ("bag", "lock", "feast", "treat", "food")},
    "arrival": "day",
    "leaving": "day",
    "d1": "rule",
    "d2": "rule",
    "s1": "rule",
    "s2": "rule",
    "home": "ending",
    "town": "fact",
}
