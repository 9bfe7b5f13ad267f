/** Every action by its name, in a window of its own. */
import "./palette.css";
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { useLate } from "./later";

const open = signal(false);
export const openPalette = (): void => { open.value = true; };

export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = open.value;
  const Search = useLate(shown, () => import("./search").then((found) => found.Search));
  useEffect(() => {
    if (shown && !dialog.current?.open) dialog.current?.showModal();
  }, [shown]);
  return (
    <dialog ref={dialog} id="palette" aria-label="Command palette" onClose={() => (open.value = false)} onClick={(event) => { if (event.target === dialog.current) dialog.current?.close(); }}>
      {shown && Search && <Search onDone={() => dialog.current?.close()} />}
    </dialog>
  );
}
