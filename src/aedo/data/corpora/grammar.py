"""Sentences for the synthetic corpus: commands, numbers, dates, weather, shopping; a few hundred common words.

A template is a line of words; a name in braces stands for any phrase of that class, phrases may hold braces too.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

CLASSES: dict[str, list[str]] = {
    name: [phrase.strip() for phrase in phrases.split(",")]
    for name, phrases in {
        "digit": "one, two, three, four, five, six, seven, eight, nine",
        "hour": "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve",
        "tens": "twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety",
        "number": "{hour}, {tens}, {tens} {digit}, {digit} hundred, {digit} thousand",
        "minutes": "five, ten, fifteen, twenty, thirty, forty five",
        "clock": "{hour}, {hour} fifteen, {hour} thirty, half past {hour}, quarter to {hour}",
        "month": "january, february, march, april, may, june, july, august, september, october, november, december",
        "weekday": "monday, tuesday, wednesday, thursday, friday, saturday, sunday",
        "ordinal": "first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth, twelfth, twentieth, "
        "twenty {low}, thirtieth",
        "low": "first, second, third, fourth, fifth, sixth",
        "part": "morning, afternoon, evening",
        "when": "today, tomorrow, tonight, on {weekday}, this {part}, on {weekday} {part}, next week",
        "city": "london, paris, berlin, madrid, rome, vienna, dublin, boston, chicago, denver, dallas, seattle, "
        "toronto, sydney, tokyo, moscow, lisbon, athens",
        "person": "anna, david, emma, george, helen, jacob, laura, martin, nina, oliver, peter, robert, sarah, thomas, "
        "victor, julia",
        "family": "mother, father, sister, brother, uncle, doctor, teacher, neighbour",
        "who": "{person}, my {family}",
        "room": "kitchen, bedroom, bathroom, garage, garden, office, hallway, basement, living room",
        "device": "light, lamp, heater, fan, radio, television, oven, speaker, camera, printer",
        "opening": "door, window, curtain, gate, box",
        "colour": "red, blue, green, yellow, orange, purple, white, black, silver",
        "sky": "sunny, cloudy, rainy, windy, foggy, cold, warm, dry",
        "falls": "rain, snow, storm",
        "style": "jazz, rock, classical, piano, guitar, dance, country, christmas",
        "food": "bread, butter, cheese, milk, coffee, sugar, apples, bananas, tomatoes, potatoes, rice, chicken, fish, "
        "pepper, chocolate, carrots, onions, honey",
        "amount": "a bottle of, a pound of, a bag of, some more, {digit} boxes of",
        "animal": "dog, cat, horse, rabbit, elephant, tiger, monkey, chicken",
        "place": "station, airport, library, museum, hospital, market, hotel, restaurant, bridge, school, park, church",
        "way": "bus, train, taxi, bicycle, boat, plane",
        "size": "small, large, little, heavy, beautiful, old, new",
        "thing": "book, chair, table, bottle, picture, letter, jacket, umbrella, basket, computer, telephone, ticket",
        "where": "on the table, under the chair, behind the door, near the window, in the garden, in the basket",
        "job": "meeting, lesson, concert, dinner, breakfast, appointment, birthday party, football game",
        "language": "english, french, german, spanish, italian, russian, chinese",
    }.items()
}

TEMPLATES = [
    "turn on the {device} in the {room}",
    "turn off the {room} {device}",
    "please open the {room} {opening}",
    "close the {opening} in the {room}",
    "set the {device} to {number}",
    "make the {room} light {colour}",
    "is the {room} {opening} still open",
    "wake me up at {clock}",
    "set an alarm for {clock} {when}",
    "set a timer for {minutes} minutes",
    "remind me about the {job} {when}",
    "the {job} starts at {clock}",
    "cancel the {job} on {weekday}",
    "move my {job} to {weekday} {part}",
    "what time is it in {city}",
    "what is the weather in {city}",
    "will it be {sky} {when}",
    "it will be {sky} in {city} {when}",
    "there is {falls} coming from {city}",
    "the temperature is {number} degrees",
    "expect {falls} and {sky} weather {when}",
    "call {who} {when}",
    "send a message to {who}",
    "tell {who} that i am late",
    "write a letter to {who} in {language}",
    "ask {who} about the {thing}",
    "read the message from {who}",
    "play some {style} music",
    "play {style} songs in the {room}",
    "stop the music in the {room}",
    "turn the volume up to {number}",
    "add {food} to the shopping list",
    "buy {amount} {food} and {food}",
    "we need {amount} {food}",
    "how much is the {food} today",
    "the {food} costs {number} dollars",
    "i would like {food} with {food}",
    "find a {place} near the {place}",
    "how far is the {place}",
    "show me the way to the {place}",
    "take the {way} to {city}",
    "the next {way} leaves at {clock}",
    "book a {way} to {city} {when}",
    "a ticket to {city} costs {number} dollars",
    "platform {number} for the {way} to {city}",
    "my birthday is {month} {ordinal}",
    "the {job} is on {month} {ordinal}",
    "we travel to {city} in {month}",
    "remember the number {number}",
    "the code is {digit} {digit} {digit} {digit}",
    "dial {digit} {digit} {digit} for {who}",
    "count from {number} to {number}",
    "page {number} of the {colour} book",
    "the {colour} {thing} is {where}",
    "put the {thing} {where}",
    "where is my {colour} {thing}",
    "the {size} {animal} is sleeping {where}",
    "a {colour} {animal} and a {size} {animal}",
    "give the {animal} some {food}",
    "{person} has a {size} {colour} {thing}",
    "{person} and {person} speak {language}",
    "translate the {thing} into {language}",
    "my {family} works at the {place}",
    "{person} lives near the {place} in {city}",
]

_NAME = re.compile(r"\{(\w+)\}")
_SHARES = {"test": (0, 15), "dev": (15, 25), "train": (25, 100)}


def sentence(random: np.random.Generator) -> str:
    """One sentence in lower case, every template and every phrase of a class as likely as its siblings."""

    def fill(match: re.Match[str]) -> str:
        phrases = CLASSES[match[1]]
        return _NAME.sub(fill, phrases[random.integers(len(phrases))])

    return _NAME.sub(fill, TEMPLATES[random.integers(len(TEMPLATES))])


def split_of(text: str) -> str:
    """The split that owns this sentence, decided by its hash: no sentence can be in two."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
    return next(split for split, (low, high) in _SHARES.items() if low <= number < high)


def vocabulary() -> set[str]:
    """Every word the grammar can say."""
    texts = [*TEMPLATES, *(phrase for phrases in CLASSES.values() for phrase in phrases)]
    return {word for text in texts for word in _NAME.sub(" ", text).split()}
