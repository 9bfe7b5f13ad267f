"""Chats: messages rendered by the tokenizer's template, and the token spans of their turns, each proved."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.pieces import cover, decode, offsets_of, reaching, short
from fluoroscope.prompts import kind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, Any]

# What `tokenize` decides about a chat, in the words of `apply_chat_template`.
_OURS = {"conversation", "add_generation_prompt", "tokenize", "return_dict", "return_tensors", "padding"} | {
    "truncation", "max_length", "tokenizer_kwargs", "return_assistant_tokens_mask", "sanitize_control_tokens"
}  # fmt: skip

_FORM = 'Write [{"role": "user", "content": "…"}]; of a file give its text.'


@dataclass(frozen=True)
class Turn:
    """One message of a chat as spans of token indices within its row: `full` with the template, `content` without.

    Turns tile the row: the first starts at token 0, each ends where the next one starts, and a generation prompt
    is part of none. Where the template cannot render the chat up to here alone (a system message merged into the
    user's), the text between two contents counts to the earlier turn.

    Args:
        index: its place in the chat, from 0.
        role: the message's role, such as "user".
        full_start: first token of the turn, template tokens included.
        full_end: one past its last token.
        content_start: first token of the message's content.
        content_end: one past the content's last token.
    """

    index: int
    role: str
    full_start: int
    full_end: int
    content_start: int
    content_end: int

    @property
    def full(self) -> slice:
        return slice(self.full_start, self.full_end)

    @property
    def content(self) -> slice:
        return slice(self.content_start, self.content_end)

    @property
    def n_total_tokens(self) -> int:
        return self.full_end - self.full_start

    @property
    def n_content_tokens(self) -> int:
        return self.content_end - self.content_start


@dataclass(frozen=True)
class Chat:
    """A rendered chat, with all that is needed to render it again while its turns are looked for.

    Args:
        messages: the messages as they were given.
        text: what the template made of them.
        generation_prompt: whether the header of the next answer was asked for.
        options: further arguments of the template.
        offsets: characters of `text` that each token covers; None from tokenizers that do not tell.
    """

    messages: tuple[Message, ...]
    text: str
    generation_prompt: bool
    options: Mapping[str, Any]
    offsets: tuple[tuple[int, int], ...] | None


def parse(text: str) -> list[Message]:
    """The messages of a chat in JSON; no file is opened, whatever the text says.

    Args:
        text: a list of messages with "role" and "content", or an object that holds it as "messages".

    Raises:
        ArgumentError: no JSON, or no list of messages.
    """
    try:
        found: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ArgumentError(f"this chat is no JSON: {error}", _FORM) from error
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("messages")
    messages = cast("list[Any]", found if isinstance(found, list) else [None])
    if not messages:
        raise ArgumentError("this chat holds no message", _FORM)
    if any(not isinstance(message, dict) for message in messages):
        raise ArgumentError("this JSON is no list of messages", _FORM)
    return messages


def encode_chat(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase | None",
    bos: bool | None,
    add_generation_prompt: bool | None,
    options: Mapping[str, Any],
) -> tuple[list[int], Chat]:
    """Ids of a chat as the tokenizer's template writes it; special tokens come from the template alone."""
    if tokenizer is None:
        raise TokenError("a chat needs a tokenizer, and this model has none", "Pass token ids.")
    if not tokenizer.chat_template and not options.get("chat_template"):
        raise TokenError(
            "this tokenizer has no chat template",
            "Give one: `conversation` takes a chat_template, Model.tokens chat_options={'chat_template': …}.",
        )
    reserved = sorted(_OURS & set(options))
    if reserved:
        raise TokenError(f"chat_options cannot set {', '.join(reserved)}", "tokenize decides about these.")
    for message in messages:
        if kind(message) != "message" or not isinstance(message.get("role"), str):
            raise TokenError(f"{short(str(message))} is no message", "Messages are dicts with 'role' and 'content'.")
        _check_content(message)
    opened = messages[-1]["role"] != "assistant" and not options.get("continue_final_message")
    opened = opened if add_generation_prompt is None else add_generation_prompt
    kept = tuple(copy.deepcopy(dict(message)) for message in messages)
    text = _render(kept, tokenizer, opened, options)
    fast = bool(tokenizer.is_fast)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False)
    ids = list(cast("list[int]", encoded["input_ids"]))
    if bos and ids[:1] != [tokenizer.bos_token_id]:
        raise TokenError("the chat template does not begin with BOS, so bos=True cannot hold", "Pass bos=None.")
    offsets = tuple((start, end) for start, end in encoded["offset_mapping"]) if fast else None
    return ids, Chat(kept, text, opened, dict(options), offsets)


def _check_content(message: Message) -> None:
    """Text, or parts as dicts; a message may be without where it calls tools."""
    content = message.get("content")
    parts = isinstance(content, list) and all(kind(part) == "message" for part in cast("list[object]", content))
    if not (isinstance(content, str) or parts or (content is None and message.get("tool_calls"))):
        raise TokenError(
            f"the {message['role']!r} message has {short(str(content))} as its content",
            "Give text, or a list of parts.",
        )


def _render(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", prompt: bool, options: Mapping[str, Any]
) -> str:
    chat = cast("list[dict[str, str]]", list(messages))
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt, **dict(options))
    except Exception as error:  # a template is a program of its author: it may fail in any way
        raise TokenError(
            f"the chat template refused this chat: {error}", "See the roles and order it allows."
        ) from error
    return cast("str", text)


def turns_of(chat: Chat, ids: list[int], pieces: list[str], tokenizer: "PreTrainedTokenizerBase") -> list[Turn]:
    """Token spans of a chat's messages, each content proved by decoding it, a space before it aside."""
    # Pieces tell characters exactly where decoding is lossless; offsets may leave out spaces at a token's ends.
    offsets = offsets_of(pieces) if "".join(pieces) == chat.text else chat.offsets
    if offsets is None:
        raise TokenError("this tokenizer does not tell which characters its tokens cover", "Use its fast version.")
    chars = [_content_chars(chat, index, tokenizer) for index in range(len(chat.messages))]
    if any(after[0] < before[1] for before, after in pairwise(chars)):
        raise TokenError("the chat template reorders the messages, so turns are no spans", "Use token indices.")
    bounds = [reaching(offsets, char) for char in _bounds(chat, chars, tokenizer)]
    turns: list[Turn] = []
    for index, (start, end) in enumerate(chars):
        content, message = cover(offsets, start, end), chat.messages[index]
        shown = decode(ids[content], tokenizer)
        # A tokenizer may draw the template's space into the first word; any other stranger is refused.
        if not {shown, "".join(pieces[content])} & {message["content"], " " + message["content"]}:
            raise TokenError(
                f"the tokens of turn {index} ({message['role']}) read {short(shown)}, "
                f"not its content {short(message['content'])}",
                "A token holds text of both the template and the content, or the tokenizer changes the text.",
            )
        turns.append(Turn(index, message["role"], bounds[index], bounds[index + 1], content.start, content.stop))
    return turns


def _content_chars(chat: Chat, index: int, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """Characters of the rendered chat that are a message's content.

    The chat is rendered once more with a marker in place of the content: what surrounds the marker must be what
    surrounds the content, so neither repeated contents nor template markers in a content can mislead.
    """
    message, text = chat.messages[index], chat.text
    content, where = message.get("content"), f"turn {index} ({message['role']})"
    if not isinstance(content, str):
        raise TokenError(f"the content of {where} is no text", "Use token indices.")
    marker = "CONTENT"
    while marker in text:
        marker += "Q"
    messages = [*chat.messages[:index], {**message, "content": marker}, *chat.messages[index + 1 :]]
    rendered = _render(messages, tokenizer, chat.generation_prompt, chat.options)
    if rendered.count(marker) != 1:
        times = rendered.count(marker)
        raise TokenError(f"the chat template writes the content of {where} {times} times", "Use token indices.")
    before, after = rendered.split(marker)
    start, end = len(before), len(text) - len(after)
    if not text.startswith(before) or not text.endswith(after) or text[start:end] != content or start > end:
        raise TokenError(
            f"the chat template changes the content of {where}: {short(content)} does not come out as it went in",
            "Some templates strip spaces at its ends or rewrite it: pass the content as it comes out.",
        )
    return start, end


def _bounds(chat: Chat, chars: list[tuple[int, int]], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Characters where turns begin, and where the last one ends."""
    options = {name: value for name, value in chat.options.items() if name != "continue_final_message"}
    bounds = [0]
    for index in range(1, len(chars) + 1):
        earliest = chars[index - 1][1]
        latest = chars[index][0] if index < len(chars) else len(chat.text)
        try:
            prefix = _render(chat.messages[:index], tokenizer, False, options)
        except TokenError:  # many templates refuse part of a chat, such as a system message alone
            prefix = ""
        told = earliest <= len(prefix) <= latest and chat.text.startswith(prefix)
        bounds.append(len(prefix) if told else latest)
    return bounds
