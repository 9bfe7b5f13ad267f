/** Where one head looks, token by token: exact shares on demand, the picture at once. */
import { useEffect, useRef, useState } from "preact/hooks";
import { asByte, paint, paintLess } from "../draw/pattern";
import { number, percent, visible } from "../draw/text";
import { A, B, first, session, showing, sides, type Side } from "../state/lab";
import { focus, hover, select, selection } from "../state/selection";
import { dark } from "../state/theme";
import { Cells } from "../views/grid";
import { largest, Legend, LESS } from "../views/shared";
import { unequal } from "./heads";
import { Panel } from "./frame";

const READABLE = 20;

type Fetched = { key: string; values: Float32Array | null; trouble: string };

/** A head's whole pattern on one prompt, once it has arrived, or why it does not. */
function usePattern(of: Side, layer: number | null, head: number | null): Fetched | null {
  const [fetched, setFetched] = useState<Fetched | null>(null);
  const key = `${of.run.value?.id}/${layer}.${head}`;
  const ready = of.shown.value !== null && sides.value.includes(of);
  useEffect(() => {
    if (layer === null || head === null || !ready) return;
    session.start({ type: "need", of: of.run.value!.id, layer, head }, ({ frame, text }) => {
      if (frame) setFetched({ key, values: frame.parts.pattern as Float32Array, trouble: "" });
      if (text?.type === "error") setFetched({ key, values: null, trouble: `${text.message}. ${text.hint}` });
    });
  }, [key, ready]);
  return fetched?.key === key ? fetched : null;
}

export function Attention() {
  const { layer, head } = focus.value;
  const of = first.value;
  const both = showing.value === "A−B";
  const [one, other] = [usePattern(A, layer, head), usePattern(B, layer, head)];
  const exact = (of === A ? one : other)?.values ?? null;
  const [minuend, second] = [one?.values, other?.values];
  const about = `A row is the token that looks, a column the one looked at; every row sums to ${both ? "0: blue is more in A, orange more in B" : "1. A large share on the first token is often rest, not reading"}.`;
  const title = layer === null || head === null ? "Attention" : `Attention of L${layer}H${head}${both ? ", A − B" : showing.value === "B" ? ", B" : ""}`;
  const live = layer === null || head === null ? null : of.layers.value[layer];
  const there = live?.heads && head! < live.heads.entropy.length;
  const values = !both ? exact : minuend && second && minuend.length === second.length ? minuend.map((share, cell) => share - second[cell]!) : null;
  const trouble = sides.value.map((each) => (each === A ? one : other)?.trouble).find((text) => text);
  return (
    <Panel id="attention" title={title} about={about} state={null}>
      {!there ? <p class="state">Point at a head, or choose one, to see where it looks.</p>
        : both && unequal() ? <p class="state">{unequal()}</p>
        : trouble ? <p class="state">{trouble}</p>
        : of.tokens.value.length > READABLE ? <Whole layer={layer!} head={head!} values={values} both={both} />
        : values ? <Exact values={values} both={both} /> : <p class="state">Fetching the shares …</p>}
    </Panel>
  );
}

/** Tokens of the rows and columns; where the two prompts differ, both. */
const labels = (both: boolean): string[] => first.value.tokens.value.map((text, index) => {
  const second = both ? B.tokens.value[index] ?? text : text;
  return second === text ? visible(text) : `${visible(text)}/${visible(second)}`;
});

function Exact({ values, both }: { values: Float32Array; both: boolean }) {
  const marks = labels(both).map((label) => ({ label, token: true, site: null }));
  const size = marks.length;
  const rows = marks.map((_, q) => marks.map((_, k) => (k > q ? null : values[q * size + k]!)));
  return <Cells grid={{ title: "attention", unit: "share", signed: both, note: LESS, maximum: both ? largest(values) || 1 : 1, rows: marks, columns: marks, values: rows, tokens: null, place: (query, key) => (key > query ? null : { query, key }) }} />;
}

const STEPS: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function Whole({ layer, head, values, both }: { layer: number; head: number; values: Float32Array | null; both: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { pattern, side } = first.value.layers.value[layer]!;
  const night = dark.value;
  const size = first.value.tokens.value.length;
  useEffect(() => {
    if (!canvas.current) return;
    if (values && both) paintLess(canvas.current, values, largest(values), size, night);
    else if (values) paint(canvas.current, Uint8Array.from(values, asByte), size, night);
    else if (pattern && !both) paint(canvas.current, pattern.subarray(head * side ** 2, (head + 1) * side ** 2), side, night);
  }, [layer, head, values, both, night]);
  const at = (event: MouseEvent): { query: number; key: number } => {
    const box = canvas.current!.getBoundingClientRect();
    const cell = (share: number) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
    return { query: cell((event.clientY - box.top) / box.height), key: cell((event.clientX - box.left) / box.width) };
  };
  const q = hover.value.query ?? selection.value.query;
  const k = hover.value.key ?? selection.value.key;
  const names = labels(both);
  const said = q !== null && k !== null && k <= q && values && names[q] !== undefined
    ? `${names[q]} ${q} looks at ${names[k]} ${k}: ${both ? number(values[q * size + k]!, true) : percent(values[q * size + k]!)}`
    : `${size} tokens: point at a cell, or move with the arrows`;
  const drawn = values ? size : side;
  return (
    <>
      <canvas ref={canvas} class="square" width={drawn} height={drawn} role="img" tabIndex={0} aria-label={`pattern of L${layer}H${head}: ${said}`}
        onMouseMove={(event) => (hover.value = { ...selection.value, ...at(event) })} onMouseLeave={() => (hover.value = { layer: null, head: null, query: null, key: null })}
        onClick={(event) => select(at(event))}
        onKeyDown={(event) => {
          const step = STEPS[event.key];
          if (!step) return;
          event.preventDefault();
          const row = Math.min(size - 1, Math.max(0, (selection.value.query ?? 0) + step[0]));
          select({ query: row, key: Math.min(row, Math.max(0, (selection.value.key ?? 0) + step[1])) });
        }} />
      <Legend maximum={both && values ? largest(values) : 1} signed={both} unit="share, by its square root" note={LESS} />
      <p class="muted" aria-live="polite">{said}</p>
    </>
  );
}
