/** The page's one socket: runs are asked for by name, and told as they go. */
import { signal, type Signal } from "@preact/signals";
import { readFrame, type Parts } from "./frames";
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

export type Heard = { text?: FromServer; frame?: { header: Frame; parts: Parts; shapes: Record<string, number[]> } };
type Ask = { type: "live" | "run" | "need" | "model"; [key: string]: unknown };

export class Run {
  readonly state: Signal<RunState> = signal({ ...EMPTY, status: "queued" });

  constructor(readonly id: string, readonly ask: Ask, private readonly session: Session,
              readonly heard: (message: Heard) => void = () => {}) {}

  cancel(): void {
    if (this.state.value.status === "queued" || this.state.value.status === "running") this.session.cancel(this.id);
  }
}

export class Session {
  readonly connected = signal<"connecting" | "ready" | "lost">("connecting");
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
    if (this.connected.value === "ready") this.send(run);
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
    if (typeof data !== "string") {
      const frame = readFrame(data);
      const run = this.runs.get(frame.header.run);
      if (run && run.state.value.status !== "running") run.state.value = { ...run.state.value, status: "running" };
      run?.heard({ frame });
      if (run && frame.header.type === "pattern") this.ended(run, { status: "ready" });
      return;
    }
    const text = JSON.parse(data) as FromServer;
    if (text.type === "hello") {
      this.connected.value = "ready";
      this.pause = 500;
      for (const run of this.waiting.splice(0)) this.send(run);
      return;
    }
    const run = text.run === null ? undefined : this.runs.get(text.run);
    if (!run) return; // a late word of a run that was called off
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

  private ended(run: Run, change: Partial<RunState>): void {
    this.runs.delete(run.id);
    run.state.value = { ...run.state.value, ...change };
  }
}
