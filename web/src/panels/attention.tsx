/** Where one head looks, token by token: exact shares on demand, the picture at once. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { visible } from "../draw/text";
import { A, B, first, session, showing, sides, type Side } from "../state/lab";
import { focus, hover, selection } from "../state/selection";
import { Cells } from "../views/grid";
import { largest, LESS } from "../views/shared";
import { Panel, Steady } from "./frame";
import { late } from "./later";
import { leftOut, minus, pairs, unequal, whole } from "./paired";
import type { Props as MatrixProps } from "./matrix";

/** Of long texts alone, so it comes when one is looked at. */
const Matrix = late<MatrixProps>(() => import("./matrix").then((found) => found.Matrix));

const READABLE = 20;
const LOOK = "Point at a head, or choose one, to see where it looks.";
/** Patterns of more tokens are not fetched while the pointer only passes by: milliseconds. */
const [HEAVY, REST] = [200, 150];

type Fetched = { key: string; values: Float32Array | null; trouble: string };

/** A head's whole pattern on one prompt, once it has arrived, or why it does not. */
function usePattern(of: Side, layer: number | null, head: number | null): Fetched | null {
  const [fetched, setFetched] = useState<Fetched | null>(null);
  const key = `${of.run.value?.id}/${layer}.${head}`;
  const ready = of.shown.value !== null && sides.value.includes(of);
  const passing = hover.value.head !== null && (selection.value.layer !== layer || selection.value.head !== head);
  useEffect(() => {
    if (layer === null || head === null || !ready || fetched?.key === key) return;
    const ask = () => session.start({ type: "need", of: of.run.value!.id, layer, head }, ({ frame, text }) => {
      if (frame) setFetched({ key, values: frame.parts.pattern as Float32Array, trouble: "" });
      if (text?.type === "error") setFetched({ key, values: null, trouble: `${text.message}. ${text.hint}` });
    });
    if (!passing || of.tokens.value.length < HEAVY) { ask(); return; }
    const waiting = setTimeout(ask, REST);
    return () => clearTimeout(waiting);
  }, [key, ready]);
  return fetched?.key === key ? fetched : null;
}

export function Attention() {
  const { layer, head } = focus.value;
  const [turned, setTurned] = useState(false);
  const of = first.value;
  const both = showing.value === "A−B";
  const [one, other] = [usePattern(A, layer, head), usePattern(B, layer, head)];
  const exact = (of === A ? one : other)?.values ?? null;
  const [minuend, second] = [one?.values, other?.values];
  const parts = both && !whole() ? pairs.value : null; // of prompts of other lengths, the tokens that both have
  const sums = parts ? "blue is more in A, orange more in B" : both ? "every SIDE sums to 0: blue is more in A, orange more in B" : "every SIDE sums to 1. A large share on the first token is often rest, not reading";
  const about = turned ? `A row is the token looked at, a column the one that looks; ${sums.replace("SIDE", "column")}.` : `A row is the token that looks, a column the one looked at; ${sums.replace("SIDE", "row")}.`;
  const title = layer === null || head === null ? "Attention" : `Attention of L${layer}H${head}${both ? ", A − B" : showing.value === "B" ? ", B" : ""}`;
  const live = layer === null || head === null ? null : of.layers.value[layer];
  const there = live?.heads && head! < live.heads.entropy.length;
  const values = useMemo(() => !both ? exact : minuend && second ? minus(minuend, second, parts) : null, [both, exact, minuend, second, parts]);
  const meanwhile = useMemo(() => (live && head !== null && !both ? small(live, head) : null), [live, head, both]);
  const places = parts ? parts.map(([place]) => place) : of.tokens.value.map((_, place) => place);
  const names = parts ? places.map((place) => visible(of.tokens.value[place]!)) : labels(both);
  const refused = both ? unequal() : null;
  const long = places.length > READABLE;
  const trouble = sides.value.map((each) => (each === A ? one : other)?.trouble).find((text) => text);
  const exchange = <button aria-pressed={turned} aria-keyshortcuts="x" onClick={() => setTurned(!turned)}>Exchange rows and columns (X)</button>;
  return (
    <Panel id="attention" title={title} about={about} state={null} own={there && values && !refused ? () => import("./own").then(({ attention }) => attention(layer!, head!, values, names)) : null}>
      <Steady of={of.run.value?.id}>
        {live && !live.heads ? <p class="state">Layer {layer} has no attention heads.</p>
          : refused ? <p class="state">{refused}</p>
          : trouble ? <p class="state">{trouble}</p>
          : !there && (long || !of.tokens.value.length) ? <p class="state">{LOOK}</p>
          : (
            <div onKeyDown={(event) => { if (/^x$/i.test(event.key) && !/^(INPUT|SELECT)$/.test((event.target as HTMLElement).tagName)) setTurned(!turned); }}>
              {long
                ? <Matrix name={`L${layer}H${head}`} names={names} places={places} values={values} both={both} turned={turned} small={meanwhile}>{exchange}</Matrix>
                : <><p class="choices">{exchange} <span class="muted">{there ? "" : LOOK}</span></p><Exact names={names} places={places} values={there ? values : null} both={both} turned={turned} /></>}
              {parts && leftOut() && <p class="muted">{leftOut()}</p>}
            </div>
          )}
      </Steady>
    </Panel>
  );
}

/** The picture that came with the layer. */
function small(live: { pattern: Uint8Array | null; side: number }, head: number): { bytes: Uint8Array; side: number } | null {
  const cells = live.side ** 2;
  return live.pattern ? { bytes: live.pattern.subarray(head * cells, (head + 1) * cells), side: live.side } : null;
}

/** Tokens of the rows and columns; where the two prompts differ, both. */
const labels = (both: boolean): string[] => first.value.tokens.value.map((text, index) => {
  const second = both ? B.tokens.value[index] ?? text : text;
  return second === text ? visible(text) : `${visible(text)}/${visible(second)}`;
});

/** The shares as a table; without them, while they come, its cells are empty. */
function Exact({ names, places, values, both, turned }: { names: readonly string[]; places: readonly number[]; values: Float32Array | null; both: boolean; turned: boolean }) {
  const marks = names.map((label) => ({ label, token: true, site: null }));
  const size = marks.length;
  const of = (row: number, column: number) => (turned ? { query: column, key: row } : { query: row, key: column });
  const rows = marks.map((_, row) => marks.map((_, column) => { const { query, key } = of(row, column); return key > query || !values ? null : values[query * size + key]!; }));
  const place = (row: number, column: number) => { const cell = of(row, column); return cell.key > cell.query ? null : { query: places[cell.query]!, key: places[cell.key]! }; };
  return <Cells grid={{ title: "attention", unit: "share", signed: both, note: LESS, maximum: both ? (values && largest(values)) || 1 : 1, rows: marks, columns: marks, values: rows, tokens: null, place }} />;
}
