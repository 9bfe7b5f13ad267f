/** A field for a token: says which one a text names, why it names none, and what begins like it. */
import "./word.css";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Said, Token, Word } from "../api/generated";
import type { Trouble } from "../api/session";
import { visible } from "../draw/text";
import { first, session } from "../state/lab";

const PAUSE = 200; // milliseconds of rest before a text is looked up

async function lookUp(text: string): Promise<Word | Trouble> {
  const answer = await fetch("api/word", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text }) });
  return (await answer.json()) as Word | Trouble;
}

/** What the model finds likely now. */
const likely = (): readonly Token[] => {
  const layers = first.value.layers.value;
  return (layers[layers.length - 1]?.says ?? []).map(({ id, label }: Said) => ({ id, label }));
};

type Props = { id: string; label: string; value: string; empty: string; onWord: (text: string, tokens: readonly Token[]) => void; clears?: boolean };

/** Calls `onWord` once a text names a token, or is empty; a text that names none changes nothing and says why. */
export function WordField({ id, label, value, empty, onWord, clears = false }: Props) {
  const [text, setText] = useState(value);
  const [found, setFound] = useState<Word | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const newest = useRef("");
  const look = async (wanted: string, commit: boolean) => {
    newest.current = wanted;
    if (session.saved) return; // nothing is asked then
    if (wanted === "") { setFound(null); setTrouble(null); if (commit) onWord("", []); return; }
    try {
      const answer = await lookUp(wanted);
      if (newest.current !== wanted) return;
      const refused = "error" in answer ? answer : (answer.trouble as Trouble | null);
      setFound("error" in answer ? null : answer);
      setTrouble(refused);
      if (commit && !refused && !("error" in answer)) { onWord(wanted, answer.named); if (clears) setText(""); }
    } catch { setTrouble({ error: "lost", message: "The server does not answer.", hint: "" }); }
  };
  useEffect(() => { setText(value); void look(value, false); }, [value]);
  useEffect(() => {
    if (text === value || text === "") return;
    const timer = setTimeout(() => void look(text, false), PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  const take = (token: Token) => { setText(clears ? "" : `#${token.id}`); setTrouble(null); onWord(`#${token.id}`, [token]); };
  const offered = text === "" ? likely() : found && text !== value ? found.alike : [];
  return (
    <div class="word">
      <label for={id}>{label}</label>
      <input id={id} type="text" value={text} placeholder={empty} spellcheck={false} autocomplete="off" aria-describedby={`${id}-said`} aria-invalid={trouble !== null}
        onInput={(event) => setText(event.currentTarget.value)} onChange={() => void look(text, true)}
        onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); void look(text, true); } }} />
      <span id={`${id}-said`} class={trouble ? "fault" : "muted"} role="status">
        {trouble ? `${trouble.message}. ${trouble.hint}` : found && found.named.length > 0 ? `read as ${found.named.map((each) => `${visible(each.label)} (id ${each.id})`).join(", ")}` : ""}
      </span>
      {offered.length > 0 && (
        <span class="offered" role="group" aria-label={`${label}: ${found ? "tokens that begin so" : "likely tokens"}`}>
          {offered.slice(0, 8).map((token) => <button type="button" class="token offer" title={`id ${token.id}`} onClick={() => take(token)}>{visible(token.label)}</button>)}
        </span>
      )}
    </div>
  );
}
