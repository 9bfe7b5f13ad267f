/** The page's one socket: runs are asked for by name, and told as they go. */
import { signal, type Signal } from "@preact/signals";
import { plainly } from "../draw/text";
import { readFrame, type Parts } from "./frames";
import { Recording, type Ask, type Kept } from "./recording";
import type { Frame, FromServer, Shown } from "./generated";

export type Trouble = { error: string; message: string; hint: string };
export type Status = "empty" | "queued" | "running" | "ready" | "cancelled" | "error";
export type RunState = {
  status: Status;
  /** Requests ahead while queued; else how far along. */
  label: string;
  done: number;
  total: number | null;
  answer: Shown | null;
  /** What there is so far; stays when the run is called off. */
  partial: Shown | null;
  trouble: Trouble | null;
};
export const EMPTY: RunState = { status: "empty", label: "", done: 0, total: null, answer: null, partial: null, trouble: null };

/** Answers of a saved run by their questions, and what to do about a question that has none. */
export type Saved = { name: string; answers: ReadonlyMap<string, Kept>; hint: string };

export type Heard = { text?: FromServer; frame?: { header: Frame; parts: Parts; shapes: Record<string, number[]> } };

/** A message with every text legible, but for the result, which is kept as it is. */
const legible = (message: FromServer): FromServer =>
  Object.fromEntries(Object.entries(message).map(([name, part]) => [name, name === "result" ? part : plainly(part)])) as FromServer;

export class Run {
  readonly state: Signal<RunState> = signal({ ...EMPTY, status: "queued" });
  /** What was said to it, which the page may come back to. */
  kept: Kept | null = null;

  constructor(readonly id: string, readonly ask: Ask, private readonly session: Session,
              readonly heard: (message: Heard) => void = () => {}) {}

  cancel(): void {
    if (this.state.value.status === "queued" || this.state.value.status === "running") this.session.cancel(this.id);
  }

  /** Called off if it is under way, and no longer what the page shows. */
  drop(): void {
    this.cancel();
    this.session.recording.forget(this.id);
  }

  /** Again what the page shows. */
  bring(): void {
    if (this.kept) this.session.recording.again(this.id, this.kept);
  }
}

export class Session {
  readonly connected = signal<"connecting" | "ready" | "lost">("connecting");
  readonly recording = new Recording();
  version = "";
  /** Where a saved run is shown, nothing is asked of the server. */
  saved: Saved | null = null;
  private socket: WebSocket | null = null;
  private readonly runs = new Map<string, Run>();
  private readonly waiting: Run[] = [];
  private count = 0;
  private pause = 500;

  open(): void {
    const address = new URL("api/session", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = address.hash = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.hear(event.data);
    socket.onclose = () => this.lost();
    this.socket = socket;
  }

  start(ask: Ask, heard?: (message: Heard) => void): Run {
    const run = new Run(`r${++this.count}`, ask, this, heard);
    this.runs.set(run.id, run);
    run.kept = this.recording.begin(run.id, ask);
    if (this.saved) queueMicrotask(() => this.replay(run));
    else if (this.connected.value === "ready") this.send(run);
    else {
      run.state.value = { ...run.state.value, label: "waiting for the connection" };
      this.waiting.push(run);
    }
    return run;
  }

  /** A run that ended before, as it was. */
  known(ask: Ask, answer: Shown): Run {
    const run = new Run(`k${++this.count}`, ask, this);
    run.state.value = { ...EMPTY, status: "ready", answer };
    this.recording.begin(run.id, ask);
    this.recording.text(run.id, { ...answer, type: "result", run: run.id });
    return run;
  }

  /** Calls a run off; the server confirms it, where it has heard of it. */
  cancel(id: string): void {
    const place = this.waiting.findIndex((run) => run.id === id);
    if (place >= 0) this.ended(this.waiting.splice(place, 1)[0]!, { status: "cancelled" });
    else if (this.connected.value === "ready") this.socket?.send(JSON.stringify({ type: "cancel", run: id }));
  }

  private send(run: Run): void {
    this.socket?.send(JSON.stringify({ ...run.ask, run: run.id }));
  }

  private lost(): void {
    this.connected.value = "lost";
    for (const run of [...this.runs.values()]) {
      if (this.waiting.includes(run)) continue;
      const trouble = { error: "lost", message: "the connection to the server was lost", hint: "Is fluoro lab still running? Ask again." };
      this.ended(run, { status: "error", trouble });
    }
    setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(this.pause * 2, 8000);
  }

  private hear(data: string | ArrayBuffer): void {
    if (typeof data !== "string") return this.hearFrame(data);
    const text = JSON.parse(data) as FromServer;
    if (text.type === "hello") {
      this.version = text.version;
      this.connected.value = "ready";
      this.pause = 500;
      for (const run of this.waiting.splice(0)) this.send(run);
      return;
    }
    const run = text.run === null ? undefined : this.runs.get(text.run);
    if (run) this.hearText(run, text); // else a late word of a run that was called off
  }

  private hearFrame(data: ArrayBuffer, replayed?: Run): void {
    const frame = readFrame(data);
    const run = replayed ?? this.runs.get(frame.header.run);
    if (!run) return;
    if (run.state.value.status !== "running") run.state.value = { ...run.state.value, status: "running" };
    this.recording.frame(run.id, data);
    run.heard({ frame });
    if (frame.header.type === "pattern") this.ended(run, { status: "ready" });
  }

  private hearText(run: Run, said: FromServer): void {
    this.recording.text(run.id, said);
    const text = legible(said);
    run.heard({ text });
    if (text.type === "progress") {
      const status = text.label === "queued" ? "queued" : "running";
      run.state.value = { ...run.state.value, status, label: text.label, done: text.done, total: text.total };
    } else if (text.type === "partial") run.state.value = { ...run.state.value, status: "running", partial: text };
    else if (text.type === "result") this.ended(run, { status: "ready", answer: text });
    else if (text.type === "done") this.ended(run, { status: "ready" });
    else if (text.type === "cancelled") this.ended(run, { status: "cancelled" });
    else if (text.type === "error") this.ended(run, { status: "error", trouble: text });
  }

  /** Whether a saved run has the answer. */
  knows(ask: Ask): boolean {
    return this.saved?.answers.has(this.recording.name(ask)) ?? false;
  }

  /** Says again what was said when the run was saved. */
  private replay(run: Run): void {
    if (!this.runs.has(run.id)) return;
    const kept = this.saved?.answers.get(this.recording.name(run.ask));
    if (!kept) return this.hearText(run, { type: "error", run: run.id, error: "saved", message: "This is not in the saved run.", hint: this.saved?.hint ?? "" });
    const last = kept.texts[kept.texts.length - 1];
    for (const text of kept.texts) if (text !== last) this.hearText(run, text);
    for (const frame of kept.frames) this.hearFrame(frame, run);
    if (last) this.hearText(run, last);
  }

  private ended(run: Run, change: Partial<RunState>): void {
    this.runs.delete(run.id);
    run.state.value = { ...run.state.value, ...change };
  }
}
