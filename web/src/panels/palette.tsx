/** Every action by its name: typed in part, chosen by arrows; for screen readers the list of all of them. */
import "./palette.css";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { actions, likeness, type Action } from "../state/actions";
import { openHelp } from "./header";

const MOST = 60;
const open = signal(false);
export const openPalette = (): void => { open.value = true; };

export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = open.value;
  useEffect(() => {
    if (shown && !dialog.current?.open) dialog.current?.showModal();
  }, [shown]);
  return (
    <dialog ref={dialog} id="palette" aria-label="Command palette" onClose={() => (open.value = false)} onClick={(event) => { if (event.target === dialog.current) dialog.current?.close(); }}>
      {shown && <Search onDone={() => dialog.current?.close()} />}
    </dialog>
  );
}

function Search({ onDone }: { onDone: () => void }) {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const found = matching(actions(openHelp), typed); // the catalogue may come while it is open
  const chosen = Math.min(at, found.length - 1);
  useEffect(() => { list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); });
  const run = (action: Action | undefined) => {
    if (!action) return;
    onDone(); // first, so that the focus may go where the action wants it
    action.run();
  };
  const keys = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) setAt(Math.min(Math.max(chosen + step, 0), found.length - 1));
    else if (event.key === "Enter") run(found[chosen]);
    else return;
    event.preventDefault();
  };
  return (
    <>
      <label for="palette-text" class="hidden">Action, panel, preset or analysis</label>
      <input id="palette-text" type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list" autocomplete="off" spellcheck={false} autofocus
        aria-activedescendant={found.length ? `palette-${chosen}` : undefined} placeholder="Action, panel, preset or analysis …" value={typed} onInput={(event) => { setTyped(event.currentTarget.value); setAt(0); }} onKeyDown={keys} />
      <p class="muted" role="status">{found.length === 0 ? "Nothing is called so." : `${found.length}${found.length === MOST ? " and more" : ""} found`}</p>
      <ul id="palette-list" ref={list} role="listbox" aria-label="actions" tabIndex={-1}>
        {found.map((action, index) => (
          <li id={`palette-${index}`} role="option" aria-selected={index === chosen} onMouseMove={() => setAt(index)} onClick={() => run(action)}>
            <span class="muted">{action.group}</span> <b>{action.name}</b> <span class="muted told">{action.told}</span> {action.keys && <kbd>{action.keys}</kbd>}
          </li>
        ))}
      </ul>
    </>
  );
}

/** The best first; all in their order where nothing was typed. */
function matching(all: readonly Action[], typed: string): Action[] {
  if (typed.trim() === "") return [...all];
  const scored = all.flatMap((action) => {
    const own = likeness(typed, action.name);
    const text = `${action.group} ${action.name} ${action.told}`.toLowerCase();
    const words = typed.toLowerCase().split(/\s+/).every((word) => text.includes(word));
    const score = own !== null ? own : words ? -10 : null;
    return score === null ? [] : [{ action, score }];
  });
  return scored.sort((one, other) => other.score - one.score).slice(0, MOST).map(({ action }) => action);
}
