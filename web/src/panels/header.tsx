/** The model, the connection, the theme, and how to use the keyboard. */
import { useState } from "preact/hooks";
import { dark, model, session, switchModel, theme } from "../state/lab";
import { link } from "../state/link";
import type { Run } from "../api/session";

export function Header() {
  const [change, setChange] = useState<Run | null>(null);
  const [note, setNote] = useState("");
  const about = model.value?.about as Record<string, unknown> | undefined;
  const status = change?.state.value;
  const loading = status && (status.status === "queued" || status.status === "running");
  return (
    <header class="top">
      <h1>Fluoroscope</h1>
      <label for="model" class="hidden">Model</label>
      <select id="model" value={model.value?.name} onChange={(event) => setChange(switchModel(event.currentTarget.value))}>
        {(model.value?.choices ?? []).map((name) => <option value={name}>{name}</option>)}
      </select>
      {about && <span class="muted">{String(about.n_layers)} layers × {String(about.n_heads)} heads, d_model {String(about.d_model)}</span>}
      <span class={`status ${session.connected.value}`} role="status">
        {loading ? "loading the model …" : status?.status === "error" ? status.trouble?.message : { connecting: "connecting", ready: "ready", lost: "connection lost, trying again" }[session.connected.value]}
      </span>
      <span class="space" />
      <span class="muted" role="status">{note}</span>
      <button class="quiet" onClick={() => void navigator.clipboard.writeText(link()).then(() => setNote("link copied"))}>Copy link</button>
      <button class="quiet" onClick={() => (theme.value = dark.value ? "light" : "dark")}>{dark.value ? "Light" : "Dark"}</button>
      <button class="quiet" onClick={() => document.querySelector<HTMLDialogElement>("#help")?.showModal()}>Keys (?)</button>
    </header>
  );
}

export function Help() {
  const rows = [
    ["Enter", "in the prompt: analyse"], ["arrows", "between cells and heads; Enter chooses"], ["[ ]", "the layer below, above"], ["{ }", "the head before, behind"],
    ["Esc", "clear the selection"], ["z, Z", "undo, redo a selection"], ["g then h a p s l c f e", "go to heads, attention, prompt, sweep, lens, circuit, flow, every analysis"], ["d", "dark or light"],
  ];
  return (
    <dialog id="help" aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <table><tbody>{rows.map(([key, what]) => <tr><th scope="row"><kbd>{key}</kbd></th><td>{what}</td></tr>)}</tbody></table>
      <form method="dialog"><button class="primary">Close</button></form>
    </dialog>
  );
}
