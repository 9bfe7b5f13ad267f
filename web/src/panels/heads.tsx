/** Every head as a small picture of where it looks, filled layer by layer while the model computes. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Heads } from "../api/generated";
import { table } from "../draw/colour";
import { short } from "../draw/text";
import { dark, hover, layers, live, model, select, selection, type LiveLayer } from "../state/lab";
import { Cells } from "../views/grid";
import { largest } from "../views/shared";
import { EMPTY } from "../api/session";
import { Panel } from "./frame";

const MEASURES: Record<keyof Heads, { name: string; unit: string }> = {
  value_norm: { name: "what it moves (mean norm of the value)", unit: "norm" },
  entropy: { name: "how widely it looks (entropy)", unit: "nats" },
  concentration: { name: "how sharply it looks (largest share)", unit: "share" },
};
type Measure = keyof Heads;

export function HeadMap() {
  const [measure, setMeasure] = useState<Measure | "pattern">("pattern");
  const state = live.value?.state.value ?? EMPTY;
  const there = layers.value.filter((layer) => layer !== null).length;
  return (
    <Panel id="heads" title="Heads" state={there ? null : state} onCancel={() => live.value?.cancel()}
      about="A row is a layer, a cell a head; patterns show how each token (down) looks at those before it (across). Layers appear as the model computes them."
      empty="Choose a preset, or write a prompt and press Analyse.">
      <p class="choices">
        <label for="measure">Show</label>
        <select id="measure" value={measure} onChange={(event) => setMeasure(event.currentTarget.value as Measure)}>
          <option value="pattern">where it looks (pattern)</option>
          {Object.entries(MEASURES).map(([name, { name: title }]) => <option value={name}>{title}</option>)}
        </select>
        <span class="muted">{there} of {layers.value.length || Number(model.value?.about.n_layers ?? 0)} layers</span>
      </p>
      {measure === "pattern" ? <Thumbnails /> : <Numbers measure={measure} />}
    </Panel>
  );
}

function Numbers({ measure }: { measure: Measure }) {
  const values = layers.value.map((layer) => layer?.heads?.[measure] ?? null);
  const width = Math.max(0, ...values.map((row) => row?.length ?? 0));
  const filled = values.map((row) => row ?? Array<number | null>(width).fill(null));
  const mark = (label: string) => ({ label, token: false, site: null });
  return (
    <Cells grid={{
      title: MEASURES[measure].name, unit: MEASURES[measure].unit, signed: false, tokens: null, values: filled,
      maximum: largest(filled.flat()) || 1, rows: filled.map((_, i) => mark(`L${i}`)),
      columns: Array.from({ length: width }, (_, i) => mark(`H${i}`)), site: (layer, head) => `z.${layer}.${head}`,
    }} />
  );
}

function Thumbnails() {
  const rows = layers.value;
  const width = Math.max(0, ...rows.map((layer) => layer?.heads?.entropy.length ?? 0));
  const [at, setAt] = useState<[number, number]>([0, 0]);
  const body = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const next: [number, number] = [Math.min(Math.max(at[0] + step[0], 0), rows.length - 1), Math.min(Math.max(at[1] + step[1], 0), width - 1)];
    setAt(next);
    body.current?.querySelector<HTMLElement>(`[data-place="${next.join(".")}"]`)?.focus();
  };
  return (
    <div class="wide">
      <div ref={body} class="thumbnails" role="grid" aria-label="heads" onKeyDown={move} style={{ "--columns": width }}>
        {rows.map((layer, index) => (
          <div role="row" class="layer">
            <span role="rowheader" class="muted">L{index}</span>
            {Array.from({ length: width }, (_, head) => <Thumbnail layer={layer} place={[index, head]} stop={at[0] === index && at[1] === head} />)}
          </div>
        ))}
      </div>
    </div>
  );
}

function Thumbnail({ layer, place: [index, head], stop }: { layer: LiveLayer | null; place: [number, number]; stop: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chosen = selection.value.layer === index && selection.value.head === head;
  const night = dark.value;
  useEffect(() => {
    if (layer?.pattern && canvas.current) paint(canvas.current, layer.pattern.subarray(head * layer.side ** 2, (head + 1) * layer.side ** 2), layer.side, night);
  }, [layer, night]);
  const spread = layer?.heads?.entropy[head];
  return (
    <button role="gridcell" data-place={`${index}.${head}`} tabIndex={stop ? 0 : -1} class={layer ? "thumbnail there" : "thumbnail"} aria-selected={chosen}
      aria-label={`L${index}H${head}${spread === undefined ? "" : `, entropy ${short(spread)}`}`} disabled={!layer}
      onMouseEnter={() => (hover.value = { layer: index, head, query: null, key: null })}
      onMouseLeave={() => (hover.value = { layer: null, head: null, query: null, key: null })}
      onClick={() => select({ layer: index, head })} title={`L${index}H${head}`}>
      {layer && <canvas ref={canvas} width={layer.side} height={layer.side} />}
    </button>
  );
}

/** Bytes of 255 sqrt(share) as colours; what a query cannot see stays clear. */
export function paint(canvas: HTMLCanvasElement, bytes: Uint8Array, side: number, night: boolean): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(side, side);
  const colours = table(night, false);
  for (let cell = 0; cell < side * side; cell++) {
    if (cell % side > Math.floor(cell / side)) continue;
    image.data.set(colours.subarray(bytes[cell]! * 4, bytes[cell]! * 4 + 4), cell * 4);
  }
  context.putImageData(image, 0, 0);
}
