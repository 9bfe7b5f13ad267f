/** Saving what the page shows, and opening what was saved: by a button, or dropped anywhere. */
import "./saved.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { fault, model, sides } from "../state/lab";
import { alone } from "../state/run-file";
import { close, opened, openFile, saved } from "../state/saved";
import { download } from "./frame";

export function SavedButtons() {
  const choose = useRef<HTMLInputElement>(null);
  const [note, setNote] = useState("");
  useDropped();
  if (alone) return null;
  const there = opened.value === null && sides.value.every((of) => of.shown.value !== null);
  const save = () => {
    setNote("saving …");
    saved().then((file) => { download(fileName(), file); setNote("saved"); }, (error: unknown) => setNote(`not saved: ${error instanceof Error ? error.message : String(error)}`));
  };
  return (
    <>
      <span class="muted" role="status">{note}</span>
      <button id="save-run" class="quiet" disabled={!there} title="everything shown here as one file, which any browser opens without network" onClick={save}>Save run</button>
      <button id="open-run" class="quiet" title="a file that Save run made; or drop it anywhere" onClick={() => choose.current?.click()}>Open run</button>
      <input ref={choose} type="file" accept=".html" class="hidden" tabIndex={-1} aria-label="a saved run" onChange={(event) => {
        const [file] = event.currentTarget.files ?? [];
        event.currentTarget.value = "";
        if (file) void openFile(file);
      }} />
    </>
  );
}

const fileName = (): string => `${(model.value?.name ?? "").replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._]+/, "") || "run"}-${new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-")}.html`;

function useDropped(): void {
  useEffect(() => {
    const brings = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => { if (brings(event)) event.preventDefault(); };
    const drop = (event: DragEvent) => {
      if (!brings(event)) return;
      event.preventDefault();
      const [file] = event.dataTransfer!.files;
      if (file) void openFile(file);
    };
    addEventListener("dragover", over);
    addEventListener("drop", drop);
    return () => { removeEventListener("dragover", over); removeEventListener("drop", drop); };
  }, []);
}

export function SavedNotice() {
  const run = opened.value;
  return (
    <>
      {fault.value && (
        <p class="state trouble notice" role="alert"><b>{fault.value.message}.</b> {fault.value.hint} <button onClick={() => (fault.value = null)}>Dismiss</button></p>
      )}
      {run && (
        <p class="notice saved-run" role="status">
          <b>Saved run</b> of {run.model.name}{run.weights && ` (weights ${run.weights})`}, {run.made.slice(0, 16).replace("T", " ")} UTC, by Fluoroscope {run.by}. Nothing here is computed.
          {!alone && <button onClick={() => close(true)}>Compute again here</button>}
          {!alone && <button onClick={() => close(false)}>Close</button>}
        </p>
      )}
    </>
  );
}
