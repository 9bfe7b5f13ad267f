/** What every panel has: a title, a sentence on what is seen, states that say what to do, a menu, full screen. */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Graph, Shown } from "../api/generated";
import type { RunState } from "../api/session";
import { copy } from "../state/clipboard";
import { keep } from "../state/kept";
import { alone } from "../state/run-file";

type Asked = { onCancel?: (() => void) | undefined; onRetry?: (() => void) | undefined };
type Props = Asked & {
  id: string; title: string; about: string;
  /** Null where the panel shows what others asked for. */
  state: RunState | null;
  empty?: string;
  /** What is drawn, which a newer run may not have replaced yet. */
  answer?: Shown | null;
  /** Choices that stand whatever the state is. */
  before?: ComponentChildren;
  /** What a panel of the live run itself gives, whose program comes when it is asked. */
  own?: (() => Promise<Own>) | null;
  children?: ComponentChildren;
};

/** The line of Python that makes what is shown, and its numbers. */
export type Own = { script: string; numbers: () => Promise<unknown> };

export function Panel({ id, title, about, state, empty = "", answer: given = null, onCancel, onRetry, before, own = null, children }: Props) {
  const box = useRef<HTMLElement>(null);
  const [note, setNote] = useState("");
  const answer = failed(state) ? null : given; // what was found before is not what was asked
  const call = (answer?.result as { call?: { script: string } } | undefined)?.call;
  const python = async () => setNote(await copy(call?.script ?? (await own!()).script, "Python"));
  const json = async () => {
    try {
      download(`${id}.json`, new Blob([JSON.stringify(answer?.result ?? await (await own!()).numbers(), null, 1)], { type: "application/json" }));
    } catch (error) { setNote((error as Error).message); }
  };
  const graph = answer?.network ?? answer?.views.find((view): view is Graph => view.kind === "graph");
  const save = async (kind: "svg" | "png") => {
    const { asDots, asText, picture } = await import("../draw/picture");
    const made = picture(box.current!);
    download(`${id}.${kind}`, kind === "svg" ? new Blob([asText(made.image)], { type: "image/svg+xml" }) : await asDots(made));
  };
  return (
    <section ref={box} id={id} class="panel" aria-labelledby={`${id}-title`} tabIndex={-1} data-status={state ? filling(state) ? "partial" : state.status : "none"}>
      <header>
        <h2 id={`${id}-title`}>{title}</h2>
        <span class="menu" role="group" aria-label={`${title}: save`}>
          <span class="muted" role="status">{note}</span>
          {(call || own) && <button class="quiet" onClick={() => void python()}>Python</button>}
          {answer && !alone && id !== "kept" && <button class="quiet" title="add it to the kept runs, as fluoro does" onClick={() => void keep(answer).then(setNote)}>Keep</button>}
          {(answer || own) && <button class="quiet" onClick={() => void json()}>JSON</button>}
          {graph && GRAPHS.map((form) => <button class="quiet" onClick={() => void saveGraph(graph, form, id).then(setNote)}>{form === "dot" ? "DOT" : "GraphML"}</button>)}
          <button class="quiet" onClick={() => void save("svg")}>SVG</button>
          <button class="quiet" onClick={() => void save("png")}>PNG</button>
          <button class="quiet" aria-label={`${title}: full screen`} title="full screen"
            onClick={() => void (document.fullscreenElement ? document.exitFullscreen() : box.current?.requestFullscreen())}>
            <svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4" /></svg>
          </button>
        </span>
      </header>
      <p class="muted about">{about}</p>
      {before}
      <States state={state} empty={empty} old={answer !== null} onCancel={onCancel} onRetry={onRetry}>{children}</States>
    </section>
  );
}

/** What is drawn, or why nothing is yet and what to do; an older drawing stays, dimmed, until a newer run has its own. */
export function States({ state, empty, old, onCancel, onRetry, children }: Asked & { state: RunState | null; empty: string; old: boolean; children?: ComponentChildren }) {
  if (state === null) return <>{children}</>;
  const again = onRetry && <button onClick={onRetry}>Run again</button>;
  switch (state.status) {
    case "empty": return <p class="state">{empty}</p>;
    case "queued": case "running": return (
      <>
        <p class="state" role="status">
          {told(state)}
          {state.status === "running" && state.total !== null && <progress value={state.done} max={state.total} aria-label={state.label} />}
          {onCancel && <button onClick={onCancel}>Cancel</button>}
        </p>
        {old && <div class={filling(state) ? "" : "old"} aria-busy="true">{children}</div>}
      </>
    );
    case "cancelled": return (
      <>
        <p class="state">Called off{state.partial ? ": this is what was found before" : ""}. {again}</p>
        {state.partial && children}
      </>
    );
    case "error": return (
      <>
        <div class="state trouble" role="alert">
          <p><b>{state.trouble?.message}</b> {state.trouble?.hint}</p>
          {again}
        </div>
        {state.partial && children}
      </>
    );
    case "ready": return <>{children}</>;
  }
}

/** What does not shrink while the pointer passes over heads, so that what is below stays where it is; `of` something else it may. */
export function Steady({ of, children }: { of: unknown; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const tallest = useRef({ of, width: 0, height: 0 });
  useLayoutEffect(() => {
    const { offsetWidth: width, offsetHeight: height } = box.current!;
    const known = tallest.current;
    if (known.of === of && known.width === width) known.height = Math.max(known.height, height);
    else {
      box.current!.style.minHeight = "";
      tallest.current = { of, width, height: box.current!.offsetHeight };
    }
    box.current!.style.minHeight = `${tallest.current.height}px`;
  });
  return <div ref={box}>{children}</div>;
}

/** Whether a run ended with nothing but why. */
export const failed = (state: RunState | null): boolean => state?.status === "error" && !state.partial;

/** Whether a run under way has told what it has so far. */
const filling = ({ status, partial }: RunState): boolean => status === "running" && partial !== null;

/** How far along a run is. */
export function told({ status, label, done, total }: RunState): string {
  if (status === "queued") return label && label !== "queued" ? `${label} …` : `Waiting for the model${done ? `, ${done} ahead` : ""} …`;
  return `${label || "running"} ${total === null ? "…" : `${done} of ${total}`}`;
}

const GRAPHS = ["dot", "graphml"] as const;

/** The whole graph as a file for Graphviz or for programs of networks, written by the library; says what went wrong. */
async function saveGraph(graph: Graph, form: (typeof GRAPHS)[number], name: string): Promise<string> {
  const told = await fetch(`api/graph/${form}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(graph) }).catch(() => null);
  const said = (await told?.json().catch(() => null)) as { text?: string; message?: string } | null | undefined;
  if (said?.text === undefined) return said?.message ?? "the server does not answer";
  download(`${name}.${form}`, new Blob([said.text], { type: "text/plain" }));
  return "";
}

export function download(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
