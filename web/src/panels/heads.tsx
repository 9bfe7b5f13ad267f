/** Every head as a small picture of where it looks, or as a number; filled layer by layer while the model computes. */
import "./heads.css";
import { useMemo, useState } from "preact/hooks";
import { EMPTY } from "../api/session";
import { less } from "../draw/atlas";
import { number } from "../draw/text";
import { B, first, found, measure, model, showing, sides, type LiveLayer } from "../state/lab";
import { hover, NONE, select, selection } from "../state/selection";
import { DataTable, largest, Legend, LESS } from "../views/shared";
import { Panel } from "./frame";
import { asBytes, HeadGrid, placeOf, type Row } from "./headgrid";
import { grid, measures, missing, ranked, type Grid, type Ranked } from "./measures";
import { late } from "./later";
import { cut, leftOut, pairs, unequal, whole } from "./paired";
import type { Props as SpaceProps } from "./space";

const Space = late<SpaceProps>(() => import("./space").then((found) => found.Space));

const ANSWER = "what it adds to the answer";
const COUNTS = [0, 3, 5, 10, 20];

export function HeadMap() {
  const state = first.value.run.value?.state.value ?? EMPTY;
  const layers = first.value.layers.value;
  const there = layers.filter((layer) => layer !== null).length;
  const names = measures();
  const chosen = names.some(([name]) => name === measure.value) ? measure.value : "pattern";
  const both = showing.value === "A−B";
  const [form, setForm] = useState<"flat" | "space" | "table">("flat");
  const absent = form === "table" ? null : missing();
  const [hide, setHide] = useState(false);
  const [by, setBy] = useState<string | null>(null);
  const [count, setCount] = useState(5);
  const rankedBy = names.some(([name]) => name === by) ? by! : (chosen !== "pattern" ? chosen : ANSWER in found.value ? ANSWER : "value_norm");
  const scores = there === layers.length ? grid(rankedBy) : null; // not before all layers are there
  const tops = scores ? ranked(scores).slice(0, count) : [];
  const patterns = chosen === "pattern" && form === "flat";
  const nothing = absent ?? (both ? unequal() ?? (patterns && !whole() && coarse() ? COARSE : null) : null);
  const show = form === "table" ? names.map(([name]) => name) : [patterns ? "pattern" : chosen === "pattern" ? rankedBy : chosen];
  const headless = layers.filter((layer) => layer !== null && !layer.heads).length;
  const about = `A row is a layer, a cell a head; patterns show how each token (down) looks at those before it (across). ${both
    ? "Blue is more in A, orange more in B." : "Layers appear as the model computes them."}`;
  return (
    <Panel id="heads" title="Heads" state={there || state.status === "error" ? null : state} onCancel={() => first.value.run.value?.cancel()} about={about}
      own={there && there === layers.length && !nothing ? () => import("./own").then(({ heads }) => heads(show)) : null}
      empty="Choose a preset, or write a prompt and press Analyse.">
      <p class="choices">
        <label for="measure">Show</label>
        <select id="measure" value={absent ? measure.value : chosen} onChange={(event) => (measure.value = event.currentTarget.value)}>
          <option value="pattern">where it looks (pattern)</option>
          {names.map(([name, title]) => <option value={name}>{title}</option>)}
          {absent && <option>{measure.value}</option>}
        </select>
        <span class="switch" role="group" aria-label="Form of the head map">
          {(["flat", "space", "table"] as const).map((each) => (
            <button aria-pressed={form === each} onClick={() => setForm(each)}>{{ flat: "2D", space: "3D", table: "table" }[each]}</button>
          ))}
        </span>
        <span class="muted">{there} of {layers.length || Number(model.value?.about.n_layers ?? 0)} layers</span>
        {headless > 0 && <label><input type="checkbox" checked={hide} onChange={(event) => setHide(event.currentTarget.checked)} /> hide {headless} without heads</label>}
      </p>
      {nothing ? <p class="state">{nothing}</p> : layers.length > 0 && (
        <>
          {form === "table" ? <Twin /> : <Drawn name={chosen} space={form === "space"} hide={hide} tops={tops} scores={scores} />}
          <p class="tops">
            <label for="top-count">Mark</label>
            <select id="top-count" value={count} onChange={(event) => setCount(Number(event.currentTarget.value))}>
              {COUNTS.map((each) => <option value={each}>{each ? `the ${each} largest` : "none"}</option>)}
            </select>
            {count > 0 && (
              <>
                <label for="top-by">by</label>
                <select id="top-by" value={rankedBy} onChange={(event) => setBy(event.currentTarget.value)}>{names.map(([name, title]) => <option value={name}>{title}</option>)}</select>
                {tops.map((top) => <Top top={top} signed={scores?.signed ?? false} />)}
              </>
            )}
          </p>
        </>
      )}
    </Panel>
  );
}

const COARSE = "These small patterns show several tokens as one, so those of prompts of other lengths cannot be subtracted here. One head's can, below, and so can numbers: choose one.";
/** Whether a dot of the small patterns stands for more than one token. */
const coarse = (): boolean => sides.value.some(({ layers, tokens }) => layers.value.some((layer) => layer?.pattern && layer.side !== tokens.value.length));

function Top({ top: { layer, head, value }, signed }: { top: Ranked; signed: boolean }) {
  const chosen = selection.value.layer === layer && selection.value.head === head;
  return (
    <button class="quiet top" aria-pressed={chosen} onClick={() => select({ layer, head })}
      onMouseEnter={() => (hover.value = { ...NONE, layer, head })} onMouseLeave={() => (hover.value = NONE)}>L{layer}H{head} {number(value, signed)}</button>
  );
}

/** How many heads share a key and value head; 1 where each has its own. */
function shared(): number {
  const { n_heads, n_kv_heads } = (model.value?.about ?? {}) as { n_heads?: number; n_kv_heads?: number };
  return n_heads && n_kv_heads ? n_heads / n_kv_heads : 1;
}

type DrawnProps = { name: string; space: boolean; hide: boolean; tops: readonly Ranked[]; scores: Grid | null };

/** Patterns, or numbers where they are asked for; balls are always of numbers. */
function Drawn({ name, space, hide, tops, scores }: DrawnProps) {
  const both = sides.value.length === 2;
  const numbers = name !== "pattern" ? grid(name) : space ? scores ?? grid("value_norm") : null;
  const patterns = usePatterns(both);
  const maximum = numbers ? largest(numbers.values.flatMap((row) => row ?? [])) || 1 : both ? patterns.most : 1;
  const layers = first.value.layers.value;
  const rows = useMemo<readonly Row[]>(() => !numbers ? patterns.rows : layers.map((layer, index) => {
    const values = numbers.values[index];
    return layer && { bytes: values ? asBytes(values, maximum, numbers.signed) : null, heads: layer.heads?.entropy.length ?? 0 };
  }), [numbers ? numbers.values : null, layers, patterns, maximum]);
  const columns = Math.max(0, ...rows.map((row) => row?.heads ?? 0));
  const marks = useMemo(() => new Map(tops.map(({ layer, head }, index) => [placeOf(layer, head), index + 1])), [JSON.stringify(tops)]);
  const signed = numbers?.signed ?? both;
  const group = shared();
  const told = (layer: number, head: number) => {
    const spread = layers[layer]?.heads?.entropy[head];
    const value = numbers?.values[layer]?.[head];
    return `L${layer}H${head}${numbers ? `, ${number(value ?? null, signed)} ${numbers.unit}` : typeof spread === "number" ? `, entropy ${number(spread)} of an even look` : ""}`;
  };
  const common = { rows, columns, group, hide, marks, maximum };
  return (
    <>
      {space && numbers ? <Space {...common} grid={numbers} />
        : <HeadGrid {...common} side={numbers ? 1 : patterns.side} signed={signed} grid={numbers} told={told} />}
      {group > 1 && <p class="muted">{group} heads that stand together share one key and value head: they read the same keys, each with a query of its own.</p>}
      {columns > 0 && <Legend maximum={maximum} signed={signed} unit={numbers ? numbers.unit : "share, by its square root"} note={both ? LESS : undefined} />}
      {both && !numbers && leftOut() && <p class="muted">{leftOut()}</p>}
    </>
  );
}

/** Every layer's patterns, or what they are less those of the other prompt. */
function usePatterns(both: boolean): { rows: readonly Row[]; side: number; most: number } {
  const [layers, others] = [first.value.layers.value, B.layers.value];
  const kept = both && !whole() ? pairs.value : null;
  return useMemo(() => {
    const side = kept?.length ?? Math.max(1, ...layers.map((layer) => layer?.side ?? 0));
    const of = (layer: { pattern: Uint8Array; side: number }, which: 0 | 1) => (kept ? cut(layer.pattern, layer.side, kept.map((pair) => pair[which])) : layer.pattern);
    const heads = (index: number) => layers[index]?.heads?.entropy.length ?? 0;
    if (!both) return { rows: layers.map((layer, index) => layer && { bytes: layer.pattern, heads: heads(index) }), side, most: 1 };
    const differences = layers.map((layer, index) => {
      const other = others[index];
      return hasPattern(layer) && hasPattern(other) && (kept || layer.side === other.side) ? less(of(layer, 0), of(other, 1)) : null;
    });
    const most = largest(differences.map((values) => (values ? largest(values) : 0))) || 1;
    return { rows: layers.map((layer, index) => layer && { bytes: differences[index] ? asBytes([...differences[index]!], most, true) : null, heads: heads(index) }), side, most };
  }, [layers, others, both, kept]);
}

const hasPattern = (layer: LiveLayer | null | undefined): layer is LiveLayer & { pattern: Uint8Array } => !!layer?.pattern;

/** The same as numbers: each head with every measure. */
function Twin() {
  const grids = measures().map(([name]) => grid(name)).filter((each) => each !== null);
  const heads = first.value.layers.value.flatMap((layer, index) => (layer?.heads?.entropy ?? []).map((_, head): [number, number] => [index, head]));
  return <DataTable name="heads" head={["head", ...grids.map(({ title }) => title)]} rows={heads.map(([layer, head]) => [`L${layer}H${head}`, ...grids.map(({ values }) => values[layer]?.[head] ?? null)])} />;
}
