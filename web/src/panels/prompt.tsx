/** The prompt, its presets and its tokens; one run at a time. */
import { EMPTY } from "../api/session";
import { visible } from "../draw/text";
import { analyse, corrupted, focus, ids, live, presets, prompt, select, shown, tokens } from "../state/lab";

export function PromptBar() {
  const state = live.value?.state.value ?? EMPTY;
  const busy = state.status === "queued" || state.status === "running";
  const stale = shown.value !== null && shown.value !== prompt.value;
  const preset = (id: string) => {
    const chosen = presets.value.find((each) => each.id === id);
    if (!chosen) return;
    prompt.value = chosen.prompt;
    corrupted.value = chosen.corrupted;
    analyse();
  };
  return (
    <section id="prompt" class="panel prompt" aria-label="Prompt" data-status={state.status}>
      <form onSubmit={(event) => { event.preventDefault(); analyse(); }}>
        <label for="prompt-text">Prompt</label>
        <textarea id="prompt-text" rows={2} value={prompt.value} spellcheck={false}
          onInput={(event) => (prompt.value = event.currentTarget.value)}
          onKeyDown={(event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); analyse(); } }} />
        <div class="actions">
          <label for="preset">Preset</label>
          <select id="preset" onChange={(event) => { preset(event.currentTarget.value); }}>
            <option value="">choose …</option>
            {presets.value.map((each) => <option value={each.id} title={each.expected}>{each.title}</option>)}
          </select>
          <button type="submit" class="primary">Analyse</button>
          {busy && <button type="button" onClick={() => live.value?.cancel()}>Cancel</button>}
          <span class="muted" role="status">{told(state.status, state.label, state.done, state.total)}{stale && " · the panels show the earlier prompt"}</span>
        </div>
      </form>
      {state.trouble && <p class="state trouble" role="alert"><b>{state.trouble.message}</b> {state.trouble.hint}</p>}
      <p class="chips" aria-label="tokens">
        {tokens.value.map((text, index) => (
          <button class="token chip" aria-pressed={focus.value.query === index} title={`token ${index}, id ${ids.value[index]}`}
            onClick={() => select({ query: focus.value.query === index ? null : index })}>
            {visible(text)}
          </button>
        ))}
      </p>
    </section>
  );
}

function told(status: string, label: string, done: number, total: number | null): string {
  if (status === "queued") return done ? `waiting, ${done} ahead` : "waiting for the model";
  if (status === "running") return total === null ? label : `layer ${Math.min(done + 1, total)} of ${total}`;
  return status === "ready" ? `${tokens.value.length} tokens` : status === "empty" ? "" : status;
}
