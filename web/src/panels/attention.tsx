/** Where one head looks, token by token: exact shares on demand, the picture at once. */
import { useEffect, useRef, useState } from "preact/hooks";
import { number, percent, visible } from "../draw/text";
import { dark, focus, layers, live, select, session, shown, tokens } from "../state/lab";
import { Cells } from "../views/grid";
import { paint } from "./heads";
import { Panel } from "./frame";

const READABLE = 26;

export function Attention() {
  const { layer, head } = focus.value;
  const [exact, setExact] = useState<{ key: string; values: Float32Array } | null>(null);
  const key = `${live.value?.id}/${layer}.${head}`;
  useEffect(() => {
    if (layer === null || head === null || shown.value === null) return;
    session.start({ type: "need", of: live.value!.id, layer, head }, ({ frame }) => {
      if (frame) setExact({ key, values: frame.parts.pattern as Float32Array });
    });
  }, [key, shown.value]);
  const about = "A row is the token that looks, a column the one looked at; every row sums to 1. A large share on the first token is often rest, not reading.";
  const title = layer === null || head === null ? "Attention" : `Attention of L${layer}H${head}`;
  const there = layer !== null && head !== null && layers.value[layer];
  return (
    <Panel id="attention" title={title} about={about} state={null} empty="">
      {!there ? <p class="state">Point at a head, or choose one, to see where it looks.</p>
        : exact?.key === key && tokens.value.length <= READABLE ? <Exact values={exact.values} />
        : <Whole layer={layer!} head={head!} values={exact?.key === key ? exact.values : null} />}
    </Panel>
  );
}

function Exact({ values }: { values: Float32Array }) {
  const size = tokens.value.length;
  const marks = tokens.value.map((label) => ({ label, token: true, site: null }));
  const rows = marks.map((_, q) => marks.map((_, k) => (k > q ? null : values[q * size + k]!)));
  return <Cells grid={{ title: "attention", unit: "share", signed: false, maximum: 1, rows: marks, columns: marks, values: rows, tokens: null, site: () => null }} />;
}

function Whole({ layer, head, values }: { layer: number; head: number; values: Float32Array | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [place, setPlace] = useState<[number, number] | null>(null);
  const { pattern, side } = layers.value[layer]!;
  const night = dark.value;
  const size = tokens.value.length;
  useEffect(() => {
    if (!canvas.current) return;
    if (values) paint(canvas.current, Uint8Array.from(values, (share) => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, share))))), size, night);
    else if (pattern) paint(canvas.current, pattern.subarray(head * side ** 2, (head + 1) * side ** 2), side, night);
  }, [layer, head, values, night]);
  const at = (event: MouseEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect();
    return [Math.floor(((event.clientY - box.top) / box.height) * size), Math.floor(((event.clientX - box.left) / box.width) * size)];
  };
  const [q, k] = place ?? [focus.value.query ?? 0, focus.value.key ?? 0];
  const said = place && k <= q && values ? `${visible(tokens.value[q] ?? "")} ${q} looks at ${visible(tokens.value[k] ?? "")} ${k}: ${percent(values[q * size + k]!)}` : `${number(size)} tokens: point at a cell`;
  return (
    <>
      <canvas ref={canvas} class="square" width={values ? size : side} height={values ? size : side} role="img" aria-label={`pattern of L${layer}H${head}`}
        onMouseMove={(event) => setPlace(at(event))} onMouseLeave={() => setPlace(null)} onClick={(event) => { const [query, keyed] = at(event); select({ query, key: keyed }); }} />
      <p class="muted" aria-live="polite">{said}</p>
    </>
  );
}
