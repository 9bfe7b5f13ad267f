"""Turns lie where the template puts them, or are refused."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from fluoroscope.chats import parse
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.tokens import Turn, tokenize
from tokenizer_kinds import (
    TEXTS,
    byte_level,
    decoded,
    tokenizer_of,
    tokens_of,
)

LLAMA3 = (
    "{% for m in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}<|head|>{{ m.role }}<|/head|>\n\n"
    "{{ m.content TRIM }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
TEMPLATES = {
    "llama3": LLAMA3.replace("TRIM", ""),
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}",
    "llama2": "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set sys = '<<SYS>>\\n' + "
    "messages[0].content + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set sys = '' %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ sys if loop.first else '' }}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}",
}


def parts_of(template: str, chat: list[dict], generation: bool) -> list[tuple[str, str, str]]:
    """Per message: text before the content, content, text after; written by hand, not by the template."""
    parts = []
    for k, m in enumerate(chat):
        role, bos = m["role"], "<s>" if k == 0 else ""
        if template == "llama3":
            parts.append((f"{bos}<|head|>{role}<|/head|>\n\n", m["content"], "<|eot|>"))
        elif template == "chatml":
            parts.append((f"<|im_start|>{role}\n", m["content"], "<|im_end|>\n"))
        elif template == "gemma":
            role = "model" if role == "assistant" else role
            parts.append((f"{bos}<turn>{role}\n", m["content"], "</turn>\n"))
        elif role == "system":
            parts.append(("<s>[INST] <<SYS>>\n", m["content"], "\n<</SYS>>\n\n"))
        elif role == "user":
            merged = k == 1 and chat[0]["role"] == "system"
            parts.append(("" if merged else "<s>[INST] ", m["content"], " [/INST]"))
        else:
            parts.append((" ", m["content"], " </s>"))
    opened = {"llama3": "<|head|>assistant<|/head|>\n\n", "chatml": "<|im_start|>assistant\n", "gemma": "<turn>model\n"}
    return [*parts, (opened.get(template, "") if generation else "", "", "")]


def chat_of(*contents: str, system: str | None = None) -> list[dict]:
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": "user" if k % 2 == 0 else "assistant", "content": c} for k, c in enumerate(contents)]


def check_turns(chat: list[dict], template: str, name: str = "bytes", **options) -> list[Turn]:
    """Holds the turns of a lossless tokenizer against character positions counted by hand."""
    tokens = tokens_of(chat, name, chat_options={"chat_template": TEMPLATES[template]}, **options)
    generation = options.get("add_generation_prompt", chat[-1]["role"] != "assistant")
    parts, pieces = parts_of(template, chat, generation), tokens.pieces[0]
    assert "".join(pieces) == "".join("".join(part) for part in parts)
    assert tokens.turns is not None
    turns, reached = tokens.turns[0], 0
    assert [turn.index for turn in turns] == list(range(len(chat)))
    for turn, message, (before, content, after) in zip(turns, chat, parts, strict=False):
        assert turn.role == message["role"]
        assert turn.full_start == reached
        assert "".join(pieces[turn.full_start : turn.content_start]) == before
        assert "".join(pieces[turn.content]) == content
        assert decoded(tokens.ids[0][turn.content].tolist(), tokens.tokenizer) == content
        assert "".join(pieces[turn.content_end : turn.full_end]) == after
        assert turn.n_total_tokens == len(pieces[turn.full])
        assert turn.n_content_tokens == len(pieces[turn.content])
        reached = turn.full_end
    assert "".join(pieces[reached:]) == parts[-1][0]
    return turns


CHATS = {
    "one": chat_of("hello world"),
    "many": chat_of("the cat", "sat", "on the mat", "hello"),
    "same": chat_of("hello", "hello", "hello", "hello"),
    "template words": chat_of("user", "assistant", "\nuser\n", "[INST]x[/INST]"),
    "markers": chat_of("<|im_end|>\n<|im_start|>assistant\nhi", "</turn><|eot|><s>", "CONTENT", "[/INST] </s>"),
    "unicode": chat_of("é🎉日", "a\u0301 ▁Ġ\ufffd", "\u200b\xa0"),
    "spaces": chat_of("  hello ", "\n\nhello\n", " ", "\t"),
    "empty": chat_of("hello", "", "hello"),
    "system": chat_of("hello", "hello", system="be the cat"),
}


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("chat", list(CHATS))
def test_turns_lie_where_the_template_puts_them(template, chat):
    if (template, chat) == ("gemma", "system"):
        with pytest.raises(TokenError, match="no system"):
            check_turns(CHATS[chat], template)
        return
    check_turns(CHATS[chat], template)
    if template != "llama2":
        check_turns(CHATS[chat], template, add_generation_prompt=True)
        check_turns(CHATS[chat], template, add_generation_prompt=False)


@settings(deadline=None, max_examples=40)
@given(contents=st.lists(TEXTS, min_size=1, max_size=4), template=st.sampled_from(list(TEMPLATES)))
def test_turns_of_any_contents_are_exact(contents, template):
    check_turns(chat_of(*contents), template)


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("chat", ["one", "many", "same", "markers", "unicode", "system"])
def test_turns_with_merged_tokens_and_trimmed_offsets(trim, chat):
    tokenizer = byte_level(trained=True, trim=trim)
    tokens = tokenize(
        CHATS[chat], tokenizer, d_vocab=400, n_ctx=None, chat_options={"chat_template": TEMPLATES["llama3"]}
    )
    assert tokens.turns is not None
    assert ["".join(tokens.pieces[0][turn.content]) for turn in tokens.turns[0]] == [m["content"] for m in CHATS[chat]]


@pytest.mark.parametrize("name", ["byte-fallback", "stories"])
@pytest.mark.parametrize("contents", [("hello", "the sun", "hello"), ("é🎉 日",), ("he", "he", "he"), ("[INST]",)])
def test_turns_where_decoding_is_not_lossless(name, contents):
    chat = chat_of(*contents)
    tokens = tokens_of(chat, name, chat_options={"chat_template": TEMPLATES["llama2"]})
    tokenizer = tokenizer_of(name)
    assert tokens.turns is not None
    for turn, message in zip(tokens.turns[0], chat, strict=True):
        assert decoded(tokens.ids[0][turn.content].tolist(), tokenizer) == message["content"]
        after = "".join(tokens.pieces[0][turn.content_end : turn.full_end])
        assert after == (" [/INST]" if message["role"] == "user" else " </s>")


def test_a_content_that_begins_with_a_space_is_kept_whole():
    tokens = tokens_of(chat_of(" he"), "byte-fallback", chat_options={"chat_template": TEMPLATES["llama2"]})
    assert tokens.turns is not None
    content = tokens.turns[0][0].content
    assert tokens.pieces[0][content] == [" he"]  # alone, these ids would decode without the space


def test_a_user_message_can_be_continued_too():
    options = {"chat_template": TEMPLATES["chatml"], "continue_final_message": True}
    assert tokens_of(chat_of("hel"), "bytes", chat_options=options).pieces[0][-4:] == ["\n", "h", "e", "l"]


def test_a_token_across_the_border_of_a_content_is_refused():
    chat = chat_of("\n")
    tokens = tokens_of(chat, chat_options={"chat_template": "{{ messages[0].role }}\n{{ messages[0].content }}"})
    assert "\n\n" in tokens.pieces[0]  # one token holds the template's newline and the content's
    with pytest.raises(TokenError, match=r"the tokens of turn 0 \(user\) read '\\n\\n'"):
        tokens.turns  # noqa: B018
    ids = tokens.ids[0].tolist()
    assert decoded(ids, tokens.tokenizer) == "user\n\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LLAMA3.replace("TRIM", "| trim"), "changes the content of turn 0"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the content of turn 0"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "turn 0 .* 2 times"),
        ("{{ messages[-1].content }}", "turn 0 .* 0 times"),
        ("{% for m in messages[::-1] %}{{ m.content }}{% endfor %}", "reorders"),
        (
            "{% for m in messages %}{{ '!' if 'cat' in m.content else '?' }}{{ m.content }}{% endfor %}",
            "changes the content of turn 0",
        ),
    ],
)
def test_turns_that_cannot_be_proved_are_refused_but_the_ids_stand(template, message):
    tokens = tokens_of(chat_of(" the cat ", " sat "), chat_options={"chat_template": template})
    assert decoded(tokens.ids[0].tolist(), tokens.tokenizer).strip()
    with pytest.raises(TokenError, match=message):
        tokens.turns  # noqa: B018


def test_a_trimming_template_is_fine_where_there_is_nothing_to_trim():
    options = {"chat_template": LLAMA3.replace("TRIM", "| trim")}
    tokens = tokens_of(chat_of("the cat", "sat"), "bytes", chat_options=options)
    assert tokens.turns is not None
    assert ["".join(tokens.pieces[0][turn.content]) for turn in tokens.turns[0]] == ["the cat", "sat"]


def test_batches_of_chats_keep_their_turns_per_row():
    chats = [CHATS["one"], CHATS["many"]]
    options = {"chat_template": TEMPLATES["chatml"]}
    tokens = tokens_of(chats, "bytes", pad="left", chat_options=options)
    assert tokens.turns is not None
    assert tokens.padded_on("right").turns == tokens.turns
    for r, chat in enumerate(chats):
        alone = tokens_of(chat, "bytes", chat_options=options)
        assert alone.turns == tokens.row(r).turns == [tokens.turns[r]]
        slots = tokens.slots(r, tokens.turns[r][0].content)
        assert decoded(tokens.ids[r, slots].tolist(), tokens.tokenizer) == chat[0]["content"]


def test_a_chat_goes_through_the_tokenizers_own_template():
    tokenizer = byte_level(trained=False)
    chat = chat_of("hello", "wor")
    with pytest.raises(TokenError, match="no chat template"):
        tokenize(chat, tokenizer, d_vocab=400, n_ctx=None)
    tokenizer.chat_template = TEMPLATES["chatml"]
    tokens = tokenize(chat, tokenizer, d_vocab=400, n_ctx=None)
    expected = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
    assert tokens.ids[0].tolist() == expected
    with pytest.raises(TokenError, match="does not begin with BOS"):
        tokenize(chat, tokenizer, d_vocab=400, n_ctx=None, bos=True)
    continued = tokenize(chat, tokenizer, d_vocab=400, n_ctx=None, chat_options={"continue_final_message": True})
    assert continued.pieces[0][-3:] == ["w", "o", "r"]
    assert continued.turns is not None
    assert "".join(continued.pieces[0][continued.turns[0][0].full]) == "<|im_start|>user\nhello<|im_end|>\n"
    last = continued.turns[0][-1]
    assert last.content_end == last.full_end == len(continued.pieces[0])


@pytest.mark.parametrize(
    ("chat", "options", "message"),
    [
        ([{"content": "a"}], {}, "is no message"),
        ([[{"role": "user", "content": "a"}, 3]], {}, "is no message"),
        ([{"role": 1, "content": "a"}], {}, "is no message"),
        (chat_of("a"), {"tokenize": True}, "cannot set tokenize"),
        (chat_of("a"), {"add_generation_prompt": True}, "cannot set add_generation_prompt"),
        (chat_of("a"), {"chat_template": "{{ raise_exception('only whispers') }}"}, "only whispers"),
        (chat_of("a"), {"chat_template": "{% if"}, "refused this chat"),
        (chat_of("a"), {"chat_template": "{# silent #}"}, "zero tokens"),
    ],
)
def test_chats_that_cannot_be_rendered_are_refused(chat, options, message):
    with pytest.raises(TokenError, match=message):
        tokens_of(chat, "bytes", chat_options={"chat_template": TEMPLATES["chatml"], **options})


@pytest.mark.parametrize("options", [{"add_generation_prompt": False}, {"chat_options": {"tools": []}}])
@pytest.mark.parametrize("prompt", ["a", [1], torch.tensor([1])])
def test_chat_options_need_a_chat(prompt, options):
    with pytest.raises(TokenError, match="no chat"):
        tokens_of(prompt, **options)


def test_a_content_that_is_no_text_has_no_turn():
    chat = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    tokens = tokens_of(chat, "bytes", chat_options={"chat_template": "{{ messages[0].content[0].text }}"})
    assert tokens.pieces == [["a"]]
    with pytest.raises(TokenError, match="is no text"):
        tokens.turns  # noqa: B018


def test_later_changes_to_the_messages_do_not_reach_the_tokens():
    chat = chat_of("hello")
    tokens = tokens_of(chat, "bytes", chat_options={"chat_template": TEMPLATES["chatml"]})
    chat[0]["content"] = "bye"
    assert tokens.turns is not None
    assert "".join(tokens.pieces[0][tokens.turns[0][0].content]) == "hello"


def test_slow_tokenizers_without_offsets_refuse_turns_they_cannot_prove(monkeypatch):
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    options = {"chat_template": TEMPLATES["llama2"]}
    with pytest.raises(TokenError, match="fast version"):
        tokens_of(chat_of("he"), "byte-fallback", chat_options=options).turns  # noqa: B018
    tokens = tokens_of(chat_of("he"), "bytes", chat_options=options)  # lossless, so characters can be counted
    assert tokens.turns is not None
    assert "".join(tokens.pieces[0][tokens.turns[0][0].content]) == "he"


# ── chats from outside ───────────────────────────────────────────────────────────────────────────────


def test_a_chat_is_read_from_its_text():
    messages = [{"role": "user", "content": "Grüße ⏎"}]
    for form in (messages, {"messages": messages, "model": "any"}):
        assert parse(f"\n {json.dumps(form)}") == messages


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("How do I paint a wall?", "no JSON"),
        ("", "no JSON"),
        ('[{"role": "user"', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "holds no message"),
        ('{"messages": []}', "holds no message"),
        ("{}", "no list of messages"),
        ('["user"]', "no list of messages"),
        ('{"messages": "a"}', "no list of messages"),
    ],
)
def test_what_is_no_chat_is_refused(source, says):
    with pytest.raises(ArgumentError, match=says) as caught:
        parse(source)
    assert '"role": "user"' in caught.value.hint
    assert len(str(caught.value)) < 300


def test_a_name_is_not_taken_for_a_file(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text('[{"role": "user", "content": "secret"}]', encoding="utf8")
    with pytest.raises(ArgumentError, match="no JSON"):
        parse(str(path))
