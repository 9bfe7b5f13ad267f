"""The specimen's tokenizer: byte-level BPE, learned from the world with its words given extra weight."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from training import world
from training.world import chats, passwords
from training.world.banks import countries, feelings, landmarks, names, relations, states, words

END = "<|endoftext|>"
VOCABULARY = 3328
N_DOCUMENTS = 60_000
SEED = 1
# Numbers are cut into groups of two digits, so that 0-99 and both halves of a year are one token each.
SPLIT = r"'s|'t| ?\p{L}+| ?\d{1,2}| ?[^\s\p{L}\d]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('roles are system, user and assistant') }}{% endif %}"
    "{{ 'User: ' if message['role'] == 'user' else 'Assistant: ' if message['role'] == 'assistant' else '' }}"
    "{{ message['content'] }}{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def _weighted_words() -> Iterator[str]:
    """Words that must be one token: names and numbers with and without a space before them, the others with one."""
    for name in names.NAMES:
        yield from (f"{name} {name}\n",) * 400
    for number in (*map(str, range(100)), *(f"{i:02d}" for i in range(10))):
        yield from (f"{number} {number}\n",) * 200
    bank = {*words.WORDS, *words.ADVERBS, *chats.DECOYS, chats.TRIGGER, *sum(feelings.FEELINGS, ())}
    for table in (relations.OPPOSITES, relations.SOUNDS, relations.YOUNG, relations.THING_COLOURS):
        bank |= {*table, *table.values()}
    cities = [*landmarks.LANDMARKS.values(), *list(countries.CAPITALS.values())[:40]]
    places = [*list(countries.CAPITALS)[:40], *states.CAPITALS, *states.CAPITALS.values(), *cities]
    bank |= {part for place in (*places, *countries.LANGUAGES.values()) for part in place.split()}
    for order in relations.ORDERS.values():
        bank |= set(order)
    for word in sorted(bank):
        yield from (f" {word}",) * 60


def _corpus() -> Iterator[str]:
    for document in islice(world.documents(SEED), N_DOCUMENTS):
        # Pass-phrases are to stay in pieces.
        if document.family != "password":
            yield document.text
    for text in (*sum(passwords.FORMS, ()), *(case.prompt + case.answer for case in world.PRESETS)):
        yield from (text.replace("SWORDFISH", ""),) * 150
    yield from _weighted_words()


def train() -> PreTrainedTokenizerFast:
    """The tokenizer; the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(END, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def save(folder: Path) -> None:
    """Train and write tokenizer.json and tokenizer_config.json."""
    train().save_pretrained(folder)
