/** Every head as a small picture of where it looks, filled layer by layer while the model computes. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Heads } from "../api/generated";
import { EMPTY } from "../api/session";
import { number } from "../draw/text";
import { less, paint, paintLess } from "../draw/pattern";
import { A, B, first, found, measure, model, other as compared, showing, sides, type LiveLayer } from "../state/lab";
import { hover, select, selection } from "../state/selection";
import { dark } from "../state/theme";
import { Cells } from "../views/grid";
import { largest, Legend, LESS } from "../views/shared";
import { Panel } from "./frame";

const MEASURES: Record<keyof Heads, { name: string; unit: string }> = {
  value_norm: { name: "what it writes (mean norm)", unit: "norm" },
  entropy: { name: "how widely it looks (entropy; 1 is an even look)", unit: "of an even look" },
  concentration: { name: "how sharply it looks (largest share)", unit: "share" },
};

export function HeadMap() {
  const state = first.value.run.value?.state.value ?? EMPTY;
  const layers = first.value.layers.value;
  const there = layers.filter((layer) => layer !== null).length;
  const chosen = measure.value === "pattern" || measure.value in MEASURES || measure.value in found.value ? measure.value : "pattern";
  const both = showing.value === "A−B";
  const about = `A row is a layer, a cell a head; patterns show how each token (down) looks at those before it (across). ${both
    ? "Blue is more in A, orange more in B." : "Layers appear as the model computes them."}`;
  return (
    <Panel id="heads" title="Heads" state={there || state.status === "error" ? null : state} onCancel={() => first.value.run.value?.cancel()} about={about}
      empty="Choose a preset, or write a prompt and press Analyse.">
      <p class="choices">
        <label for="measure">Show</label>
        <select id="measure" value={chosen} onChange={(event) => (measure.value = event.currentTarget.value)}>
          <option value="pattern">where it looks (pattern)</option>
          {Object.entries(MEASURES).map(([name, { name: title }]) => <option value={name}>{title}</option>)}
          {Object.keys(found.value).map((name) => <option value={name}>{name}</option>)}
        </select>
        <span class="muted">{there} of {layers.length || Number(model.value?.about.n_layers ?? 0)} layers</span>
      </p>
      {both && unequal() ? <p class="state">{unequal()}</p> : chosen === "pattern" ? <Thumbnails /> : <Numbers name={chosen} />}
    </Panel>
  );
}

/** Why there is no difference of the two prompts' patterns; null where there is one. */
export function unequal(): string | null {
  const [one, other] = [A.tokens.value.length, B.tokens.value.length];
  return compared.value !== null ? "Heads of two models have no counterparts in one another: look at A or B alone. What can be subtracted is below." : one === 0 || other === 0 ? "Waiting for both prompts …"
    : one === other ? null : `A has ${one} tokens and B ${other}: a difference needs prompts of as many. Look at A or B alone, or change one.`;
}

const minus = (one: number | null, other: number | null): number | null => (one === null || other === null ? null : one - other);

function Numbers({ name }: { name: string }) {
  const mark = (label: string) => ({ label, token: false, site: null });
  const live = MEASURES[name as keyof Heads];
  const given = found.value[name];
  const both = sides.value.length === 2;
  const of = (layer: LiveLayer | null | undefined): readonly (number | null)[] | null => (live ? layer?.heads?.[name as keyof Heads] ?? null : null);
  const values = given ? given.values : first.value.layers.value.map((layer, index) => {
    const [one, other] = [of(layer), of(B.layers.value[index])];
    return !both ? one : one && other && one.map((value, head) => minus(value, other[head] ?? null));
  });
  const width = Math.max(0, ...values.map((row) => row?.length ?? 0));
  const filled = values.map((row) => row ?? Array<number | null>(width).fill(null));
  return (
    <Cells grid={{
      title: live?.name ?? name, unit: live?.unit ?? given?.unit ?? "", signed: given?.signed ?? both, note: both ? LESS : undefined, tokens: null, values: filled,
      maximum: largest(filled.flat()) || 1, rows: filled.map((_, i) => mark(`L${i}`)),
      columns: Array.from({ length: width }, (_, i) => mark(`H${i}`)), place: (layer, head) => ({ layer, head }),
    }} />
  );
}

function Thumbnails() {
  const rows = first.value.layers.value;
  const width = Math.max(0, ...rows.map((layer) => layer?.heads?.entropy.length ?? 0));
  const [at, setAt] = useState<[number, number]>([0, 0]);
  const body = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const [row, column] = at;
    const next: Record<string, [number, number]> = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, width - 1], PageUp: [0, column], PageDown: [rows.length - 1, column],
    };
    const target = next[event.key];
    if (!target) return;
    event.preventDefault();
    const place: [number, number] = [Math.min(Math.max(target[0], 0), rows.length - 1), Math.min(Math.max(target[1], 0), width - 1)];
    setAt(place);
    body.current?.querySelector<HTMLElement>(`[data-place="${place.join(".")}"]`)?.focus();
  };
  const both = sides.value.length === 2;
  const others = B.layers.value;
  const differences = useMemo(() => rows.map((layer, index) => {
    const other = others[index];
    return both && layer?.pattern && other?.pattern && layer.side === other.side ? less(layer.pattern, other.pattern) : null;
  }), [rows, others, both]);
  const most = largest(differences.map((values) => (values ? largest(values) : 0)));
  return (
    <>
      <div class="wide">
        <div ref={body} class="thumbnails" role="grid" aria-label="heads" onKeyDown={move} style={{ "--columns": width }}>
          {rows.map((layer, index) => (
            <div role="row" class="layer">
              <span role="rowheader" class="muted">L{index}</span>
              {Array.from({ length: width }, (_, head) => (
                <Thumbnail layer={layer} difference={differences[index] ?? null} most={most} both={both} place={[index, head]} stop={at[0] === index && at[1] === head} onFocus={() => setAt([index, head])} />
              ))}
            </div>
          ))}
        </div>
      </div>
      {width > 0 && <Legend maximum={both ? most : 1} signed={both} unit="share, by its square root" note={LESS} />}
    </>
  );
}

type OneProps = { layer: LiveLayer | null; difference: Float32Array | null; most: number; both: boolean; place: [number, number]; stop: boolean; onFocus: () => void };

function Thumbnail({ layer, difference, most, both, place: [index, head], stop, onFocus }: OneProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chosen = selection.value.layer === index && selection.value.head === head;
  const night = dark.value;
  const there = layer?.pattern && (!both || difference) ? layer : null;
  useEffect(() => {
    if (!there?.pattern || !canvas.current) return;
    const [from, to] = [head * there.side ** 2, (head + 1) * there.side ** 2];
    if (!both) paint(canvas.current, there.pattern.subarray(from, to), there.side, night);
    else if (difference) paintLess(canvas.current, difference.subarray(from, to), most, there.side, night);
  }, [there, difference, most, both, night]);
  const spread = layer?.heads?.entropy[head];
  return (
    <button role="gridcell" data-place={`${index}.${head}`} tabIndex={stop ? 0 : -1} class={there ? "thumbnail there" : "thumbnail"} aria-selected={chosen}
      aria-label={`L${index}H${head}${typeof spread === "number" ? `, entropy ${number(spread)} of an even look` : ""}`} aria-disabled={!there} title={`L${index}H${head}`}
      onFocus={onFocus} onMouseEnter={() => (hover.value = { layer: index, head, query: null, key: null })}
      onMouseLeave={() => (hover.value = { layer: null, head: null, query: null, key: null })} onClick={() => { if (there) select({ layer: index, head }); }}>
      {there && <canvas ref={canvas} width={there.side} height={there.side} />}
    </button>
  );
}
