/** The model, the connection, the theme, and how to use the keyboard. */
import { useState } from "preact/hooks";
import { model, session, switchModel } from "../state/lab";
import { PANELS } from "../state/actions";
import { dark, theme } from "../state/theme";
import { copy } from "../state/clipboard";
import { link, linkedModel } from "../state/link";
import { alone } from "../state/run-file";
import { opened } from "../state/saved";
import { SavedButtons, SavedNotice } from "./saved";
import type { Run } from "../api/session";

export function Header() {
  const [change, setChange] = useState<Run | null>(null);
  const [note, setNote] = useState("");
  const about = model.value?.about as Record<string, unknown> | undefined;
  const status = change?.state.value;
  const loading = status && (status.status === "queued" || status.status === "running");
  const other = !opened.value && linkedModel !== null && model.value !== null && linkedModel !== model.value.name && !change;
  return (
    <>
      <header class="top">
        <h1>Fluoroscope</h1>
        <label for="model" class="hidden">Model</label>
        <select id="model" key={status?.status} value={model.value?.name} disabled={!!loading || opened.value !== null} onChange={(event) => setChange(switchModel(event.currentTarget.value))}>
          {(model.value?.choices ?? []).map((name) => <option value={name}>{name}</option>)}
        </select>
        {about && <span class="muted">{String(about.n_layers)} layers × {String(about.n_heads)} heads, d_model {String(about.d_model)}</span>}
        <span class={`status ${opened.value ? "saved" : session.connected.value}`} role="status">
          {opened.value ? "saved run" : loading ? "loading the model …" : { connecting: "connecting", ready: model.value ? "ready" : "loading the model …", lost: "connection lost, trying again" }[session.connected.value]}
        </span>
        <span class="space" />
        <span class="muted" role="status">{note}</span>
        <SavedButtons />
        {!alone && <button id="copy-link" class="quiet" onClick={() => void copy(link(), "link").then(setNote)}>Copy link</button>}
        <button class="quiet" onClick={() => (theme.value = dark.value ? "light" : "dark")}>{dark.value ? "Light" : "Dark"}</button>
        <button class="quiet" onClick={openHelp}>Keys (?)</button>
      </header>
      <SavedNotice />
      {status?.status === "error" && <p class="state trouble notice" role="alert"><b>{status.trouble?.message}</b> {status.trouble?.hint}</p>}
      {other && <p class="state trouble notice" role="status">This link was made with {linkedModel}; here is {model.value!.name}, so the numbers are others.</p>}
    </>
  );
}

export const openHelp = (): void => document.querySelector<HTMLDialogElement>("#help")?.showModal();

export function Help() {
  const rows = [
    ["Enter", "in the prompt: analyse"], ["arrows", "between cells and heads; Enter chooses"], ["[ ]", "the layer below, above"], ["{ }", "the head before, behind"],
    ["/ or Ctrl-K", "every action, panel, preset and analysis by name"], ["Esc", "clear the selection"], ["z, Z", "undo, redo: selection, pins, threshold, target"], ["p", "on a cell: pin its token, or patch it alone"], ["x, + −", "in the attention of many tokens: exchange rows and columns; zoom"], ["c", "compare: A, B, A − B"], ["l", "copy a link to what is shown"], ["d", "dark or light"],
    ["g then a letter", `go to ${PANELS.map(({ key, name }) => `${key} ${name.toLowerCase()}`).join(", ")}`],
    ["j k", "in Reasoning: the step behind, before"],
  ];
  return (
    <dialog id="help" aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <table><tbody>{rows.map(([key, what]) => <tr><th scope="row"><kbd>{key}</kbd></th><td>{what}</td></tr>)}</tbody></table>
      <form method="dialog"><button class="primary">Close</button></form>
    </dialog>
  );
}
