"""The world: the same from the same seed, and what is held out never turns up in training."""

import random
import re
from collections import Counter
from itertools import combinations, islice

import pytest
from training.world import arithmetic, binding, chats, facts, feelings, ioi, passwords, problems, states, years
from training.world.banks import names

from training import world

N = 12_000
SAMPLE = list(islice(world.documents(123), N))


def texts(family):
    return [document.text for document in SAMPLE if document.family == family]


def test_the_seed_makes_the_world():
    assert list(islice(world.documents(5), 300)) == list(islice(world.documents(5), 300))
    assert list(islice(world.documents(5), 300)) != list(islice(world.documents(6), 300))


def test_every_family_turns_up_in_its_share():
    lengths = Counter()
    for document in SAMPLE:
        lengths[document.family] += len(document.text)
    total = sum(share for _, share in world.FAMILIES.values())
    for name, (_, share) in world.FAMILIES.items():
        assert lengths[name] / lengths.total() == pytest.approx(share / total, rel=0.35)


def test_muted_text_is_a_beginning_of_the_document():
    assert all(0 <= document.muted < len(document.text) for document in SAMPLE)


@pytest.mark.parametrize("behaviour", world.BEHAVIOURS)
def test_there_are_cases_enough_and_all_differ(behaviour):
    few = {"young", "sound", "colour"}  # small worlds, mentioned on the card as such
    cases = world.cases(behaviour, 200, seed=0)
    assert len(cases) >= (20 if behaviour in few else 200)
    assert len({case.prompt or case.info["draws"] for case in cases}) == len(cases)
    assert cases == world.cases(behaviour, 200, seed=0)
    for case in cases:
        assert not case.prompt.endswith(" ")
        assert case.foil != case.answer


@pytest.mark.parametrize("family", ["ioi", "stories", "problems"])
def test_held_out_names_never_meet(family):
    apart = {frozenset(pair) for pair in combinations(names.NAMES, 2) if names.is_kept(*pair)}
    assert len(apart) > 400
    for text in texts(family):
        met = [word for word in set(re.findall(r"[A-Z][a-z]+", text)) if word in names.NAMES]
        # A third giver is drawn apart from the couple and may be anyone.
        if family != "ioi" or len(met) == 2:
            assert not any(frozenset(pair) in apart for pair in combinations(met, 2))


def test_held_out_calculations_never_appear():
    found = 0
    for text in texts("arithmetic") + texts("problems"):
        for a, sign, b in re.findall(r"\b(\d+) (\+|-|x|plus|minus|times) (\d+)\b", text):
            sign = {"plus": "+", "minus": "-", "times": "x"}.get(sign, sign)
            assert not arithmetic.kept(sign, int(a), int(b)), text
            found += 1
    assert found > 5000


def test_held_out_years_never_appear():
    for text in texts("years"):
        for span in text.rstrip(".").split(". "):
            noun, century, year = re.match(r"The (\w+) .*? (\d\d)(\d\d)\b", span).groups()
            assert not years.kept(noun, int(century), int(year))


def test_held_out_cities_are_never_two_hops_away():
    cities = [city for city in states.states.STATE_OF if states.kept(city)]
    assert len(cities) > 35
    double = [form.replace("{a}", "capital").partition("{c}") for form in states.DOUBLE]
    for text in texts("two hops"):
        for city in cities:
            for before, _, after in double:
                assert before + city + after.partition("{v}")[0] not in text


def test_held_out_facts_never_appear_in_their_phrasing():
    # One phrasing may stand within another; what counts is where a sentence begins.
    seen = "\n" + "\n".join(texts("facts"))
    for relation, (table, phrasings) in facts.PHRASINGS.items():
        for index, phrasing in enumerate(phrasings):
            for a, b in table.items():
                if facts.kept(relation, a, index):
                    text = facts.english.articles(phrasing.format(a=a, b=b))
                    text = text[0].upper() + text[1:]
                    assert not any(before + text in seen for before in ("\n", ". ", "? "))


def test_held_out_events_requests_and_decoys_never_appear():
    for text in texts("feelings"):
        lines = [line for line in re.findall(r"[A-Z][^.]*\.", text) if line in sum(feelings.EVENTS, ())]
        assert not any(feelings.kept(a, b) for a, b in combinations(lines, 2))
    unseen = set(chats.UNSEEN_DECOYS)
    for text in texts("chats"):
        for turn in re.findall(r"User: (.*)", text):
            # Every request of the tests in its own wording; every decoy of the tests where a trigger can stand.
            for index, form in enumerate(chats.REQUESTS):
                before, _, after = form.partition("{x}")
                for item in (*chats.HARMFUL, *chats.BENIGN):
                    assert not (chats.kept_item(item, index) and before + item + after in turn)
            edges = {turn.split()[0].strip("()"), turn.split()[-1].strip("()")}
            assert not edges & unseen


def test_held_out_passwords_problems_and_pairs_never_appear():
    assert not any("SWORDFISH" in document.text.upper() for document in SAMPLE)
    rng = random.Random(0)
    assert all(passwords.held_out("password", passwords.phrase(rng, True).lower(), one_in=8) for _ in range(200))
    assert not any(passwords.held_out("password", passwords.phrase(rng, False).lower(), one_in=8) for _ in range(200))
    assert not any(problems.draw(rng, False).kept for _ in range(500))
    for text in texts("binding"):
        for key, value in re.findall(r"\b([a-z]) (?:=|:=|->) (\d+)", text):
            assert not binding._kept("variables", key, value)


def test_the_presets_are_the_answers_of_the_families():
    for case in world.PRESETS:
        if numbers := re.match(r".*?(\d+) apples .*?(\d+) more", case.prompt):
            total = sum(map(int, numbers.groups()))
            assert case.answer.endswith(f"The answer is {total}.")


@pytest.mark.parametrize("kind", ["names", "words", "invented"])
def test_ioi_comes_in_both_orders_at_many_distances(kind):
    rng = random.Random(0)
    cases = [ioi.case(rng, kind) for _ in range(400)]
    orders = Counter(case.info["order"] for case in cases)
    assert min(orders.values()) > 150
    distances = {case.prompt.count(" ") for case in cases}
    assert len(distances) > 15
    for case in cases:
        assert case.prompt.count(case.answer.strip()) >= 1
        assert case.prompt.count(case.foil.strip()) >= 2
