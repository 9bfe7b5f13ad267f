/** A field for a token: says which one a text names, why it names none, and what begins like it. */
import "./word.css";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Said, Token, Word } from "../api/generated";
import type { Trouble } from "../api/session";
import { visible } from "../draw/text";
import { first, session } from "../state/lab";
import { lookUp, refusal } from "../state/words";

const PAUSE = 200; // milliseconds of rest before a text is looked up
const NAMED = 4; // tokens that are told one by one

/** What the model finds likely now. */
const likely = (): readonly Token[] => {
  const layers = first.value.layers.value;
  return (layers[layers.length - 1]?.says ?? []).map(({ id, label }: Said) => ({ id, label }));
};

type Props = { id: string; label: string; value: string; empty: string; onWord: (text: string, tokens: readonly Token[]) => void; clears?: boolean };

const read = (named: readonly Token[]): string =>
  `read as ${named.slice(0, NAMED).map((each) => `${visible(each.label)} (id ${each.id})`).join(", ")}${named.length > NAMED ? ` and ${named.length - NAMED} more` : ""}`;

/** Calls `onWord` with what is asked for, which may name no token: then it says why, as will whatever asks about it; a field
 * that `clears` collects tokens, and keeps such a text until it is one. */
export function WordField({ id, label, value, empty, onWord, clears = false }: Props) {
  const [text, setText] = useState(value);
  const [found, setFound] = useState<Word | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [closed, setClosed] = useState(false);
  const newest = useRef("");
  const look = async (wanted: string, commit: boolean) => {
    newest.current = wanted;
    if (session.saved) return; // nothing is asked then
    if (wanted === "") { setFound(null); setTrouble(null); if (commit) onWord("", []); setClosed(commit); return; }
    try {
      const answer = await lookUp(wanted);
      if (newest.current !== wanted) return;
      const [refused, word] = [refusal(answer), "error" in answer ? null : answer];
      setFound(word);
      setTrouble(refused);
      if (!commit || (refused && clears)) return;
      onWord(wanted, word?.named ?? []);
      setClosed(!refused); // of a text that is refused, what begins like it may be what was meant
      if (clears) setText("");
    } catch { setTrouble({ error: "lost", message: "The server does not answer.", hint: "" }); }
  };
  useEffect(() => { setText(value); void look(value, false); }, [value]);
  useEffect(() => {
    if (text === value || text === "") return;
    const timer = setTimeout(() => void look(text, false), PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  const take = (token: Token) => { newest.current = `#${token.id}`; setText(clears ? "" : `#${token.id}`); setTrouble(null); setClosed(true); onWord(`#${token.id}`, [token]); };
  const offered = closed ? [] : text === "" ? likely() : found && (trouble || text !== value) ? found.alike : [];
  return (
    <div class="word">
      <label for={id}>{label}</label>
      <input id={id} type="text" value={text} placeholder={empty} spellcheck={false} autocomplete="off" aria-describedby={`${id}-said`} aria-invalid={trouble !== null}
        onInput={(event) => { setClosed(false); setText(event.currentTarget.value); }} onFocus={() => setClosed(false)} onChange={() => void look(text, true)}
        onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); void look(text, true); } else if (event.key === "Escape") setClosed(true); }} />
      <span id={`${id}-said`} class={trouble ? "fault" : "muted"} role="status">
        {trouble ? `${trouble.message}. ${trouble.hint}` : found && found.named.length > 0 ? read(found.named) : ""}
      </span>
      {offered.length > 0 && (
        <span class="offered" role="group" aria-label={`${label}: ${found ? "tokens that begin so" : "likely tokens"}`} onMouseDown={(event) => event.preventDefault() /* leaving the field would ask about what stands in it */}>
          {offered.slice(0, 8).map((token) => <button type="button" class="token offer" title={`id ${token.id}`} onClick={() => take(token)}>{visible(token.label)}</button>)}
        </span>
      )}
    </div>
  );
}
