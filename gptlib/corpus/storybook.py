"""The words and plots of the stories, in the notation of `gptlib.corpus.grammar`.

Given, not built. A table lists one row a line, its columns between bars; the first column is the
word itself and its header names the rest. Order matters in `number` alone (`{a=number<b}`).
"""

import re

from gptlib.corpus.grammar import Memory, Row

TABLES = {
    "name": """child
        Mia, Anna, Lily, Nora, Rosa, Ella, Ivy, Ruby, Clara, Maya | girl
        Zoe, Lucy, Hana, Tessa, Faye, Olga, Amina, Greta | girl
        Tom, Ben, Leo, Max, Sam, Finn, Omar, Jack, Hugo, Noah, Theo | boy
        Eli, Kofi, Ravi, Oscar, Milo, Pablo, Anton | boy""",
    "trait": """
        curious, careful, cheerful, stubborn, patient, clever, shy, noisy, dreamy, brave,
        gentle, restless, hopeful, thoughtful, lively, quiet, playful, sensible, daring,
        modest""",
    "look": """
        curly hair, big ears, long legs, a wobbly tooth, freckles, round glasses, muddy
        boots, a loud laugh, cold hands, quick feet, strong arms, a crooked fringe, rosy
        cheeks, a small nose, many pockets, a soft voice, patched trousers, sticky fingers""",
    "nickname": """
        Lucky, Brave, Clever, Captain, Little, Golden, Doctor, Merry, Wise, Quick, Kind, Old""",
    "home": """
        by the sea, on a small farm, in a tall tower, on a river boat, in a dark forest, on
        an island, in an old windmill, in a stone castle, at the end of a lane, in a deep
        valley, above a bakery, on a green hill, in a sleepy village, behind a herb garden,
        next to a railway, beside a lake, near a harbour, in a busy city, at the foot of a
        mountain, under a straw roof""",
    "hobby": """
        drawing maps, counting stars, climbing trees, singing to the cows, baking bread,
        collecting shells, jumping over puddles, telling jokes, watching ants, building
        sandcastles, asking questions, reading about whales, painting pebbles, playing the
        drum, making paper boats, feeding the sparrows, looking for tracks, learning new
        words, inventing games, polishing spoons, rolling down slopes, following snails,
        planting acorns, folding paper birds, mixing colours, writing letters, walking
        backwards, listening to the rain""",
    "sky": """
        windy, cold, sunny, rainy, foggy, grey, bright, warm, frosty, stormy, still, misty""",
    "part": """
        morning, afternoon, evening, day, Monday, Friday, Sunday, spring day, summer day,
        market day""",
    "number": """
        one, two, three, four, five""",
    "colour": """
        red, blue, green, yellow, orange, purple, white, black, brown, pink, silver, golden,
        scarlet, violet, turquoise, crimson, ivory, emerald, copper, amber""",
    "thing": """
        kite, ball, hat, scarf, drum, cup, bell, book, ribbon, button, basket, lantern,
        umbrella, whistle, blanket, mitten, bucket, marble, feather, box, pencil, ring,
        spoon, comb, doll, flag""",
    "animal": """
        fox, owl, rabbit, hedgehog, mouse, frog, duck, crow, badger, squirrel, goat, turtle,
        otter, bear, deer, hen, pony, cat, dog, mole, swan, goose, beaver, seal, heron, toad""",
    "manner": """
        old, kind, grumpy, sleepy, tiny, proud, funny, young, wise, fluffy, polite, lonely,
        serious, thin, muddy, hungry, nervous, plump, cheeky, spotted, famous, forgetful,
        tired, friendly""",
    "food": """many
        apple | apples
        pear | pears
        plum | plums
        bun | buns
        nut | nuts
        carrot | carrots
        biscuit | biscuits
        cake | cakes
        fig | figs
        muffin | muffins
        pancake | pancakes
        cherry | cherries
        tart | tarts
        potato | potatoes
        peach | peaches
        radish | radishes""",
    "spot": """
        the bridge, the market, the pond, the orchard, the windy beach, the big rock, the
        old well, the meadow, the harbour, the crossroads, the fountain, the hollow tree""",
    "place": """
        under the stairs, behind the stove, in the tall grass, on the roof, beside the well,
        in the barn, under a bench, behind the shed, in a bird's nest, at the bottom of the
        pond, on top of the wall, inside the piano""",
    "state": """
        covered in leaves, safe and dry, a little bit wet, as good as new, hanging from a
        nail, half hidden by moss""",
    "weather": """effect | tool
        it had rained | the lane was full of mud | a broom
        it had snowed | the door would not open | a shovel
        the wind had blown | the roof had lost its tiles | a ladder
        the sun had burned | the flowers were thirsty | a watering can
        the river had risen | the boat had drifted away | a long rope
        the waves had crashed | the beach was full of seaweed | a rake
        there had been hail | the window was broken | a pane of glass
        there had been thunder | the sheep had run off | a shepherd's horn
        the fog had been thick | nobody had lit the lamps | a box of matches
        there had been frost | the pump was frozen | a kettle of hot water
        the moon had been full | the wolves had stolen the pie | a bag of flour
        it had been too warm | the butter had melted | a block of ice
        the mice had danced | the bells were out of tune | a little hammer
        the stove had smoked | the kitchen was black with soot | a wet cloth""",
    "slip": """effect | lesson
        left the gate open | the goats were eating the beans | shut the gate twice
        forgot to water the roses | the roses hung their heads | watered the roses first
        left the milk in the sun | the milk was sour | kept the milk in the shade
        built the wall too high | the wall fell with a crash | built low walls
        put salt in the jam | the jam tasted of the sea | tasted the sugar first
        left the window open | the floor was wet | closed the window at night
        forgot to feed the hens | there were no eggs | fed the hens at dawn
        let the fire go out | the soup was cold | watched the fire
        left the lid off the honey | there were ants in the honey | put the lid back
        tied a loose knot | the canoe was floating away | tied tight knots
        carried the plates in one hand | the plates lay in pieces | used both hands
        hung the washing in the rain | every shirt was dripping | looked at the sky first
        slept too long | the bus was gone | got up with the sun
        cut the cake too early | there was no cake for the guests | waited for the guests
        whistled in the library | the librarian woke up | whistled outside
        painted the bench too late | there was paint on the mayor | put up a sign""",
    "wrapping": """
        old wool, soft moss, a clean sock, a map of the town, a flour sack, thick paper,
        cabbage leaves, a paper bag, yesterday's news, a silk scarf""",
    "trap": """
        stuck in a fence, caught in a net, under a fallen branch, at the bottom of a pit,
        tangled in a kite string, shut in a crate""",
    "trouble": """answer
        got lost in the fog | knew the way home
        dropped a key into the lake | dived to the bottom
        could not reach the last branch | bent the branch down
        was locked out in the cold | found an open window
        could not cross the stream | built a bridge of stones
        lost the path in the dark | brought a light""",
    "riddle": """answer
        I have hands but cannot clap | a clock
        I have teeth but cannot bite | a saw
        I have one eye but cannot see | a needle
        I run all day but have no legs | a stream
        I have a neck but no head | a bottle
        I have four legs but cannot walk | a table
        I have many keys but open nothing | a piano
        I have many leaves but am not a tree | a dictionary
        I grow shorter while I work | a candle
        I follow you only when it is bright | a shadow
        I have a bed but never sleep in it | a river
        I can fill a house but not a spoon | smoke""",
    "noise": """source
        a tapping at the window | a branch in the wind
        a creaking on the stairs | the wood growing cold
        a scratching in the wall | a mouse with a nutshell
        a long, low howl | the neighbour's dog
        a slow drip | the kitchen tap
        a rumble like a giant | a storm far away
        a buzzing by the lamp | a lost moth
        a rattle at the door | the cat coming home
        a flapping overhead | a sheet on the line
        a splash outside | a frog in the barrel
        a crunch in the garden | a hedgehog eating pears
        a song without words | the kettle on the stove
        a ring like a tiny bell | a spoon in a glass
        a sigh from the cupboard | a coat sliding down""",
    "goods": """
        milk, bread, butter, cheese, honey, salt, sugar, flour, rice, soap, string, tea,
        ink, oil""",
    "shop": """
        the baker, the grocer, the man with the scales, the woman behind the counter""",
    "wish": """do | did
        seen a whale | see a whale | saw a whale
        heard an echo | hear an echo | heard an echo
        touched snow | touch snow | touched snow
        ridden a camel | ride a camel | rode a camel
        slept in a tent | sleep in a tent | slept in a tent
        met a queen | meet a queen | met a queen
        caught a fish | catch a fish | caught a fish
        flown in a balloon | fly in a balloon | flew in a balloon
        rowed to the island | row to the island | rowed to the island
        won a prize | win a prize | won a prize
        tasted a lemon | taste a lemon | tasted a lemon
        danced at a wedding | dance at a wedding | danced at a wedding""",
    "journey": """
        three days, two nights, a whole week, half a day, a long hour, a month""",
    "dream": """
        flying, dragons, honey cake, the sea, giants, a silver train, dancing bears, nothing
        at all, talking trees, snowflakes, being tall, a friendly ghost""",
    "dark": """
        One night, Late one evening, Long after midnight, When the lamps were out, Before
        dawn, In the middle of a dream""",
    "listener": """
        the cat, the neighbours, the whole family, the moon, a very old teddy bear,
        everybody twice, the postman, a secret diary""",
}

PLOTS = "sharing basket lost swap rescue riddle wish weather mistake present errand night"

RULES = {
    "story": [f"<hero><has><{plot}>" for plot in PLOTS.split()],
    "hero": [
        "{hero=name} was {trait.a=trait} {hero.child~} with {=look} who lived {home=home}.",
        "{home.Text=home} lived {trait.a=trait} child named {hero=name} with {=look}.",
    ],
    "has": [
        " {hero.She} had {colour.a=colour} {thing=thing}, the only {colour~} {thing~} in town.",
        " {hero.She} owned {colour.a=colour} {thing=thing}, the only {colour~} {thing~} for miles.",
    ],
    "day": ["One {=sky} {=part}"],
    "meet": [" <day>, {hero.she} met {manner.a=manner} {animal=animal} at {=spot}."],
    "sharing": [
        '<meet> "[I have not eaten since yesterday|My tummy is empty|Something smells good],"'
        " said the {animal~}. {hero} had {many=plenty} {food.many=food}."
        ' "Take {few=number<many}," said {hero~}, "for {many~} take away {few~} leaves {rest~}."'
        " And the {animal~} bowed.<ending>"
    ],
    "basket": [
        " <day>, {hero.she} carried {many=plenty} {food.many=food} home from {=spot}."
        " But [the basket|the bag|one pocket] had a hole, and {few=number<many}"
        " [fell into the mud|rolled down the hill|went to the ants]."
        " {hero.Her} brother counted: {many~} take away {few~} leaves {rest~}.<ending>"
    ],
    "lost": [
        '<meet> "Have you seen my {thing~}?" asked {hero~}.'
        ' "What colour is it?" asked the {animal~}. "It is {colour~}," said {hero~}.'
        ' "Look," said the {animal~}. There, {=place}, was the {colour~} {thing~}.<ending>'
    ],
    "swap": [
        '<meet> "Swap your {thing~} for my {two=thing-thing}," said the {animal~}.'
        " But past the {animal~} came {.a=animal} with {other.a=food}."
        ' "I left with {colour.a~} {thing~} and came home with {other.a~}," said {hero~}.<parting>'
    ],
    "rescue": [
        "<meet> It was {=trap}. {hero} set it free."
        ' "I will remember this, {hero~}," said the {animal~}.'
        " That [spring|summer|autumn|winter], {hero} {trouble=trouble}."
        " It was the {animal~} who {trouble.answer~}.<ending>"
    ],
    "riddle": [
        '<meet> "Who am I?" asked the {animal~}. "{riddle=riddle}."'
        " {hero} [scratched {hero.her~} head|walked in a circle|closed both eyes]."
        ' "You are {riddle.answer~}," said {hero~} to the {animal~}.<ending>'
    ],
    "wish": [
        ' But {hero.she} had never {wish=wish}.<meet> "I would love to {wish.do~}," said {hero~}.'
        ' "Come with me," said the {animal~}.'
        " {hero} followed the {animal~} for {=journey}. At last, {hero~} {wish.did~}.<ending>"
    ],
    "weather": [
        " All [night|day|week] {weather=weather}, and now {weather.effect~}."
        ' "What shall we do?" asked {hero.her~} grandmother. {hero} fetched {weather.tool~}'
        " [from the shed|from next door|out of the cellar|out of an old chest]."
        ' "All this because {weather~}," said {hero.her~} grandmother.<ending>'
    ],
    "mistake": [
        " <day>, {hero.she} {slip=slip}. Soon {slip.effect~}."
        ' "Who did this?" asked {hero.her~} father.'
        " {hero} [looked at the floor|turned red|wanted to hide|took a deep breath|began to cry]."
        ' "I {slip~}," said {hero~}. After that, {hero.she~} always {slip.lesson~}.<ending>'
    ],
    "present": [
        " It was nearly the birthday of {hero.her~} mother, and {hero} had no money."
        " So {hero.she~} wrapped the {colour~} {thing~} in {=wrapping}."
        ' "I always wanted {colour.a~} {thing~}," said {hero.her~} mother.<parting>'
    ],
    "errand": [
        ' <day>, {hero.her} aunt needed {a=goods}. "And bring {b=goods-a}," called the neighbour.'
        ' "First {a~}, then {b~}," said {hero~} all the way to the shop.'
        " [A dog barked|It began to rain|A friend waved|The road was long]."
        ' "I would like {a~} and {b~}," said {hero~} to {=shop}.<ending>'
    ],
    "night": [
        " {=dark}, {hero.she} heard {noise=noise}. {hero} held on to the {colour~} {thing~}."
        " {hero.Her} uncle"
        " [lit a candle|came in slippers|listened, too|took a broom|was not so sure]."
        " They went to look, and it was only {noise.source~}.<ending>"
    ],
    "ending": [
        "<parting>",
        " Then {hero.she~} took the {colour~} {thing~} and went back to {=hobby}.",
    ],
    "parting": [
        " That night, {home.back~}, {hero.she~} dreamed of {=dream}.",
        " Back {home.back~}, {hero.she~} told {=listener}.",
        " From then on, people called {hero.him~} {=nickname} {hero~}.",
    ],
}

# What a reader must be able to do to write on at a labelled place: slot, or slot.form -> skill.
SKILLS = {
    "hero": "name",
    "hero.child": "pronoun",
    "hero.she": "pronoun",
    "hero.her": "pronoun",
    "hero.him": "pronoun",
    "colour": "colour",
    "thing": "thing",
    "animal": "helper",
    "many": "number",
    "few": "number",
    "rest": "count",
    "weather": "cause",
    "slip": "cause",
    "noise": "cause",
    "trouble": "cause",
    "riddle": "riddle",
    "a": "order",
    "b": "order",
    "other": "thing",
    "home": "ending",
    "wish": "ending",
}

PRONOUNS = {
    "girl": {"she": "she", "her": "her", "him": "her"},
    "boy": {"she": "he", "her": "his", "him": "him"},
}


def rows_of(source: str) -> list[Row]:
    """Rows from the layout above: a line of column names, then `word, word | column`.

    The column `child` says girl or boy, and brings the pronouns along.
    """
    header, *lines = source.split("\n")
    columns = [c.strip() for c in header.split("|")] if header.strip() else []
    rows = []
    for line in lines if columns else [" ".join(" ".join(lines).split())]:
        words, *rest = line.split("|")
        for word in (
            re.split(r",\s+(?=\S)", words.strip()) if (columns in ([], ["child"])) else [words]
        ):
            row = {
                "text": word.strip(),
                **dict(zip(columns, (r.strip() for r in rest), strict=True)),
            }
            rows.append(row)
    return [row | PRONOUNS[row["child"]] for row in rows] if columns == ["child"] else rows


def _rest(memory: Memory) -> Row:
    numbers = ROWS["number"]
    return numbers[numbers.index(memory["many"]) - numbers.index(memory["few"]) - 1]


ROWS = {name: rows_of(source) for name, source in TABLES.items()}
for row in ROWS["home"]:
    row["back"] = re.sub(r"\ban?\b", "the", row["text"], count=1)
ROWS["plenty"] = ROWS["number"][2:]  # three or more: enough to give some away and keep some

# What follows from what was said: the slots it needs, and the row that follows.
COMPUTED = {"rest": (("many", "few"), _rest)}
