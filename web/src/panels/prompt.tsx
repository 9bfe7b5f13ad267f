/** The prompt, its presets and its tokens; a second one to compare with. */
import "./prompt.css";
import { signal } from "@preact/signals";
import { EMPTY } from "../api/session";
import { howMany, visible } from "../draw/text";
import { foil, target } from "../state/aims";
import { back, choosePreset } from "../state/chosen";
import { change } from "../state/history";
import { history } from "../state/runs";
import { A, analyse, analyseShown, B, compareWith, model, other, presets, show, showing, sides, textOf, type Showing, type Side } from "../state/lab";
import { alone } from "../state/run-file";
import { focus, hover, inSpan, select, selection } from "../state/selection";
import { told } from "./frame";
import { WordField } from "./word";

const ids = signal(false);

const SHOWN: Record<Showing, string> = { A: "prompt A alone", B: "prompt B alone", "A−B": "both, and what differs" };

export function PromptBar() {
  const busy = sides.value.some((of) => /queued|running/.test(of.run.value?.state.value.status ?? ""));
  const comparing = showing.value !== "A";
  const preset = presets.value.find((each) => each.prompt === A.prompt.value && each.corrupted === B.prompt.value);
  return (
    <section id="prompt" class="panel" aria-label="Prompt" data-status={A.run.value?.state.value.status ?? "empty"}>
      <form onSubmit={(event) => { event.preventDefault(); analyseShown(); }}>
        <div class="prompts">
          <Text of={A} id="prompt-text" name={comparing ? "Prompt A" : "Prompt"} />
          {comparing && other.value === null && <Text of={B} id="prompt-b" name="Prompt B" />}
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={alone} title={alone ? "This file has no model: open it in fluoro lab to compute." : undefined}>Analyse</button>
          {busy && <button type="button" onClick={() => sides.value.forEach((of) => of.run.value?.cancel())}>Cancel</button>}
          <label for="preset">Preset</label>
          <select id="preset" value={preset?.id ?? ""} onChange={(event) => void choosePreset(event.currentTarget.value)}>
            <option value="">choose …</option>
            {presets.value.map((each) => <option value={each.id}>{each.title}</option>)}
          </select>
          {history.value.length > 1 && (
            <>
              <label for="history">Earlier</label>
              <select id="history" value="" onChange={(event) => { const past = history.value[Number(event.currentTarget.value)]; if (past) back(past); event.currentTarget.value = ""; }}>
                <option value="">{history.value.length} runs …</option>
                {history.value.map((past, index) => <option value={String(index)}>{past.prompt}</option>)}
              </select>
            </>
          )}
          <label><input type="checkbox" checked={ids.value} onChange={(event) => (ids.value = event.currentTarget.checked)} /> ids</label>
          <span class="switch" role="group" aria-label="Compare two prompts, or two models">
            {(Object.keys(SHOWN) as Showing[]).map((each) => (
              <button type="button" aria-pressed={showing.value === each} title={SHOWN[each]} onClick={() => show(each)}>{each === "A−B" ? "A − B" : each}</button>
            ))}
          </span>
          {comparing && (
            <label>B is <select id="other" value={other.value ?? ""} onChange={(event) => compareWith(event.currentTarget.value || null)}>
              <option value="">another prompt</option>
              {(model.value?.choices ?? []).filter((name) => name !== model.value?.name).map((name) => <option value={name}>the same prompt in {name}</option>)}
            </select></label>
          )}
          {preset && <span class="muted">Known of {preset.known_of}: {preset.expected}</span>}
        </div>
      </form>
      <div class="aims" role="group" aria-label="What is asked about">
        <WordField id="target" label="Target" value={target.value} empty="its own answer" onWord={(text) => change(target, text)} />
        <WordField id="foil" label="Foil" value={foil.value} empty="none" onWord={(text) => change(foil, text)} />
        <span class="muted">The circuit, the lens and the sweep follow the target, against the foil.</span>
      </div>
      {sides.value.map((of) => <Read of={of} />)}
    </section>
  );
}

const Text = ({ of, id, name }: { of: Side; id: string; name: string }) => (
  <div>
    <label for={id}>{name}</label>
    <textarea id={id} rows={2} value={of.prompt.value} spellcheck={false} onInput={(event) => (of.prompt.value = event.currentTarget.value)}
      onKeyDown={(event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); analyse(of); } }} />
  </div>
);

/** What the model reads of a prompt, or why it does not. */
function Read({ of }: { of: Side }) {
  const state = of.run.value?.state.value ?? EMPTY;
  const stale = of.shown.value !== null && of.shown.value !== textOf(of);
  const trouble = state.status === "error" ? state.trouble : null;
  const said = state.status === "ready" ? howMany(of.tokens.value.length, "token") : state.status === "running" ? layer(state) : state.status === "queued" ? told(state) : state.status === "cancelled" ? "called off" : "";
  const at = hover.value.query ?? selection.value.query;
  return (
    <>
      {trouble && <p class="state trouble" role="alert"><b>{trouble.message}</b> {trouble.hint}</p>}
      <div class="chips" role="group" aria-label={`tokens of ${of.name}`}>
        {sides.value.length > 1 && <b>{of.name}{of === B && other.value !== null && ` · ${other.value}`}</b>}
        {of.tokens.value.map((text, index) => (
          <button class="token chip" aria-pressed={focus.value.query === index} title={`token ${index}, id ${of.ids.value[index]}`}
            data-chosen={at === index || inSpan(index) ? "" : undefined} onClick={() => select({ query: selection.value.query === index ? null : index })}>
            {visible(text)}{ids.value && <small>{of.ids.value[index]}</small>}
          </button>
        ))}
        <span class="muted" role="status">{said}{stale && " · the panels show the earlier prompt"}</span>
        {state.status === "running" && state.total !== null && <progress value={state.done} max={state.total} aria-label={`layers of ${of.name}`} />}
      </div>
    </>
  );
}

const layer = ({ done, total, label }: { done: number; total: number | null; label: string }): string =>
  total === null ? label : `layer ${Math.min(done + 1, total)} of ${total}`;
