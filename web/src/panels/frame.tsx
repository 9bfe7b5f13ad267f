/** What every panel has: a title, a sentence on what is seen, states that say what to do, a menu, full screen. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import type { RunState } from "../api/session";

type Props = {
  id: string; title: string; about: string; state: RunState | null; empty: string;
  onCancel?: (() => void) | undefined; onRetry?: (() => void) | undefined; wide?: boolean; children?: ComponentChildren;
};

export function Panel({ id, title, about, state, empty, onCancel, onRetry, wide, children }: Props) {
  const box = useRef<HTMLElement>(null);
  const [note, setNote] = useState("");
  const call = (state?.answer?.result as { call?: { script: string; command: string } } | undefined)?.call;
  const copy = (text: string, what: string) => {
    void navigator.clipboard.writeText(text).then(() => setNote(`${what} copied`), () => setNote("the browser refused the clipboard"));
  };
  return (
    <section ref={box} id={id} class={wide ? "panel wide-panel" : "panel"} aria-labelledby={`${id}-title`} tabIndex={-1} data-status={state?.status ?? "none"}>
      <header>
        <h2 id={`${id}-title`}>{title}</h2>
        <span class="menu">
          <span class="muted" role="status">{note}</span>
          {call && <button class="quiet" onClick={() => copy(call.script, "Python")}>Copy Python</button>}
          {state?.answer && <button class="quiet" onClick={() => download(`${id}.json`, JSON.stringify(state.answer!.result, null, 1), "application/json")}>JSON</button>}
          <button class="quiet" onClick={() => pictures(box.current!, id, setNote)}>SVG</button>
          <button class="quiet" aria-label={`${title}: full screen`} onClick={() => void (document.fullscreenElement ? document.exitFullscreen() : box.current?.requestFullscreen())}>⛶</button>
        </span>
      </header>
      <p class="muted about">{about}</p>
      <Body state={state} empty={empty} onCancel={onCancel} onRetry={onRetry}>{children}</Body>
    </section>
  );
}

function Body({ state, empty, onCancel, onRetry, children }: Pick<Props, "state" | "empty" | "onCancel" | "onRetry" | "children">) {
  if (state === null) return <>{children}</>;
  const again = onRetry && <button onClick={onRetry}>Run again</button>;
  switch (state.status) {
    case "empty": return <p class="state">{empty}</p>;
    case "queued": case "running": return (
      <>
        <p class="state" role="status">
          {state.status === "queued" ? `Waiting for the model${state.done ? `, ${state.done} ahead` : ""} …` : `${state.label || "running"} ${state.total ? `${state.done} of ${state.total}` : "…"}`}
          {state.status === "running" && state.total !== null && <progress value={state.done} max={state.total} aria-label={state.label} />}
          {onCancel && <button onClick={onCancel}>Cancel</button>}
        </p>
        {children}
      </>
    );
    case "cancelled": return <p class="state">Called off. {again}</p>;
    case "error": return (
      <div class="state trouble" role="alert">
        <p><b>{state.trouble?.message}</b> {state.trouble?.hint}</p>
        {again}
      </div>
    );
    case "ready": return <>{children}</>;
  }
}

export function download(name: string, text: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The drawings of a panel as files, with the colours that they have here. */
function pictures(box: HTMLElement, id: string, say: (note: string) => void): void {
  const drawings = [...box.querySelectorAll("svg")];
  const canvases = [...box.querySelectorAll("canvas")];
  if (drawings.length + canvases.length === 0) { say("nothing is drawn here but tables"); return; }
  drawings.forEach((drawing, index) => {
    const copy = drawing.cloneNode(true) as SVGElement;
    const [from, to] = [[drawing, ...drawing.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
    from.forEach((element, place) => {
      const style = getComputedStyle(element);
      for (const name of ["fill", "stroke", "stroke-width", "font", "opacity"]) (to[place] as SVGElement).style.setProperty(name, style.getPropertyValue(name));
    });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.style.background = getComputedStyle(document.body).backgroundColor;
    download(`${id}${index ? `-${index + 1}` : ""}.svg`, new XMLSerializer().serializeToString(copy), "image/svg+xml");
  });
  canvases.forEach((canvas, index) => {
    const link = document.createElement("a");
    link.href = canvas.toDataURL("image/png");
    link.download = `${id}${index ? `-${index + 1}` : ""}.png`;
    link.click();
  });
}
