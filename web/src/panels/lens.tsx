/** What each depth would say, by one of three lenses; pinned tokens are followed through all depths. */
import "./lens.css";
import { useEffect, useState } from "preact/hooks";
import type { Heatmap, Lines, Shown } from "../api/generated";
import { percent, visible } from "../draw/text";
import { aimed, MOST_PINS, pin, pins, target, unpin, type Pin } from "../state/aims";
import { answered, keep } from "../state/answers";
import { choice } from "../state/choices";
import { A, B, modelOf, other, session, showing, type Side } from "../state/lab";
import { selection } from "../state/selection";
import { Picture } from "../views";
import { Acting, type Acts } from "../views/acts";
import { HeatmapView } from "../views/grid";
import { AnalysisPanel } from "./analysis";
import { OnePatch, read, usePatching, written, type Patching } from "./onepatch";
import { WordField } from "./word";

type Cell = { top: { id: number; piece: string; probability: number }[]; kl: number | null; target_probability: number; target_rank: number };
type Depth = { site: string; cells: Cell[] };
type Place = { index: number; token: string; target: string; settled: string | null };
type Result = { depths: Depth[]; positions: Place[] };

const LENSES: Record<string, string> = { logit_lens: "logit lens", tuned_lens: "tuned lens", jacobian_lens: "Jacobian lens" };
const COLOURS: Record<string, string> = { probability: "probability of what it says", kl: "distance from the final prediction (KL)", rank: "probability of the target" };
const lens = choice("lens", "logit_lens");
const colour = choice("lens.colour", "probability");
const name = (site: string): string => (site === "resid_pre.0" ? "emb" : `L${site.split(".")[1]}`);

export function Lens() {
  const patching = usePatching("lens", () => "denoise", () => [A.shown.value ?? A.prompt.value, B.shown.value ?? B.prompt.value]);
  const choices = (
    <p class="choices">
      <label for="lens-kind">Lens</label>
      <select id="lens-kind" value={lens.value} onChange={(event) => (lens.value = event.currentTarget.value)}>
        {Object.entries(LENSES).map(([kind, title]) => <option value={kind}>{title}</option>)}
      </select>
      <label for="lens-colour">Colour</label>
      <select id="lens-colour" value={colour.value} onChange={(event) => (colour.value = event.currentTarget.value)}>
        {Object.entries(COLOURS).map(([kind, title]) => <option value={kind}>{title}</option>)}
      </select>
    </p>
  );
  return (
    <AnalysisPanel id="lens" title="Logit lens" analysis={lens.value} pick={(views) => views} more={() => aimed({ target: "target" })} before={choices}
      about="What each depth would say at every token, with its probability; read columns upwards. Early layers write for later ones, not for the output: their words may mean little."
      draw={(answer, of) => <Depths answer={answer} of={of} patching={patching} />} after={<After patching={patching} />} />
  );
}

function Depths({ answer, of, patching }: { answer: Shown; of: Side; patching: Patching }) {
  const view = answer.views.find((each): each is Heatmap => each.kind === "heatmap");
  const { depths, positions } = answer.result as unknown as Result;
  const [said, setSaid] = useState("");
  const both = showing.value === "A−B";
  const direction = of === A ? "denoise" : "noise";
  if (!view) return <div class="beside">{answer.views.map((each) => <Picture key={each.title} view={each} />)}</div>;
  const shown = coloured(view, depths);
  const pinOf = (text: string) => {
    const [row, column] = text.split(".").map(Number);
    const top = depths[row ?? 0]?.cells[column ?? 0]?.top[0];
    if (top) pin({ id: top.id, label: top.piece });
  };
  const acts: Acts | null = both && other.value !== null ? null : both ? {
    take: (_, row, column) => written({ sites: [depths[row]!.site], positions: [positions[column]!.index], direction }),
    act: (text) => { const taken = read(text); if (taken) patching.run(taken); },
    drop: (text, _, column) => {
      const taken = read(text);
      const [from, to] = [taken?.positions?.[0], positions[column]!.index];
      if (!taken || taken.direction === direction) setSaid("Drag a cell of the other prompt here.");
      else if (from !== to) setSaid(`Taken at token ${from}, dropped at token ${to}: a value goes to the same token of the other prompt.`);
      else { setSaid(""); patching.run(taken); }
    },
    hint: "P, or drag onto the same token of the other prompt, patches the stream here",
  } : { take: (_, row, column) => `${row}.${column}`, act: pinOf, hint: "P pins this token" };
  const marked = (row: number, column: number) => (positions[column]?.settled === depths[row]?.site ? `from here on ${visible(positions[column]!.target)} is first` : null);
  return (
    <>
      <Acting.Provider value={acts}>
        <Picture view={{ ...shown, caption: `${shown.caption} Framed: the first depth from which on the token that the model ends with${target.value ? ", or the chosen target," : ""} is first and stays.` }}
          drawn={<HeatmapView view={shown} marked={marked} />} />
      </Acting.Provider>
      {said && <p class="state" role="status">{said}</p>}
      <details><summary>All numbers</summary><div class="beside">{answer.views.filter((each) => each.kind !== "heatmap").map((each) => <Picture key={each.title} view={each} />)}</div></details>
      {!both && <Followed of={of} positions={positions} onDrop={pinOf} />}
    </>
  );
}

/** The picture with other numbers in its cells. */
function coloured(view: Heatmap, depths: readonly Depth[]): Heatmap {
  const of = (value: (cell: Cell) => number | null) => depths.map((depth) => depth.cells.map(value));
  if (colour.value === "kl") return { ...view, title: "How far each depth is from the end", caption: "The likeliest token at each depth, and how far all that it would say is from what the model says in the end.", unit: "nats (KL)", maximum: null, values: of((cell) => cell.kl) };
  if (colour.value === "rank") return { ...view, title: "What each depth gives the target", caption: "The likeliest token at each depth, and beside it the probability of the target there, which is another token in most cells.", values: of((cell) => cell.target_probability) };
  return view;
}

/** Pinned tokens at the chosen position: probability and rank over all depths. */
function Followed({ of, positions, onDrop }: { of: Side; positions: readonly Place[]; onDrop: (text: string) => void }) {
  const chosen = selection.value.query;
  const place = positions.find((each) => each.index === chosen) ?? positions[positions.length - 1]!;
  const paths = usePaths(of, place.index);
  const there = pins.value.flatMap((each) => { const path = paths.get(each.id); return path && typeof path !== "string" ? [{ pin: each, path }] : []; });
  const trouble = pins.value.map((each) => paths.get(each.id)).find((path): path is string => typeof path === "string");
  return (
    <section class="followed" aria-label="Pinned tokens" onDragOver={(event) => event.preventDefault()} onDrop={(event) => { event.preventDefault(); onDrop(event.dataTransfer?.getData("text/plain") ?? ""); }}>
      <h3>Pinned tokens after {visible(place.token)} {place.index}</h3>
      <div class="choices">
        <WordField id="pin-word" label="Pin" value="" clears empty="e.g. “ Mary”" onWord={(_, tokens) => tokens.forEach((token) => pin({ id: token.id, label: token.label }))} />
        {pins.value.map((each) => <button type="button" class="token chip" aria-label={`unpin ${visible(each.label)}`} title={`id ${each.id}: unpin`} onClick={() => unpin(each.id)}>{visible(each.label)} ×</button>)}
      </div>
      {pins.value.length === 0 && <p class="state">Pin up to {MOST_PINS} tokens: write one, press P on a cell, or drag a cell here. Choosing a token of the prompt moves the place.</p>}
      {trouble && <p class="state trouble">{trouble}</p>}
      {there.length > 0 && (
        <>
          <div class="beside">{lines(there).map((view) => <Picture key={view.title} view={view} />)}</div>
          <Picture view={{
            kind: "table", title: "Where a pinned token becomes the first, and stays", caption: "", columns: ["token", "p at the end", "rank at the end", "first from"].map((column, index) => ({ name: column, token: index === 0 })),
            rows: there.map(({ pin: { label }, path }) => {
              const end = path.depths[path.depths.length - 1]!.cells[0]!;
              return { cells: [label, percent(end.target_probability), end.target_rank, path.positions[0]!.settled === null ? "never" : name(path.positions[0]!.settled)], site: null };
            }),
          }} />
        </>
      )}
    </section>
  );
}

/** Each pinned token's way through the depths, or why there is none; asked once. */
function usePaths(of: Side, position: number): Map<number, Result | string> {
  const [, again] = useState(0);
  const prompt = of.shown.value;
  const asks = modelOf(of);
  const [troubles] = useState(() => new Map<string, string>());
  const args = (each: Pin) => ({ prompt, position, target: `#${each.id}` });
  const key = (each: Pin) => `${lens.value} ${asks.model ?? ""} ${JSON.stringify(args(each))}`;
  const asked = pins.value.map(key).join("\n");
  useEffect(() => {
    const runs = prompt === null ? [] : pins.value.filter((each) => !answered(lens.value, args(each), asks.model) && !troubles.has(key(each))).map((each) => {
      const [kind, given, where] = [lens.value, args(each), key(each)];
      return session.start({ type: "run", analysis: kind, arguments: given, ...asks }, ({ text }) => {
        if (text?.type === "result") keep(kind, given, text, asks.model);
        else if (text?.type === "error") troubles.set(where, `${text.message}. ${text.hint}`);
        else return;
        again((count) => count + 1);
      });
    });
    return () => runs.forEach((run) => run.cancel());
  }, [asked, prompt, position]);
  return new Map(pins.value.flatMap((each): [number, Result | string][] => {
    const found = answered(lens.value, args(each), asks.model);
    const trouble = troubles.get(key(each));
    return found ? [[each.id, found.result as unknown as Result]] : trouble ? [[each.id, trouble]] : [];
  }));
}

function lines(there: readonly { pin: Pin; path: Result }[]): Lines[] {
  const depths = there[0]!.path.depths;
  const settled = there[0]!.path.positions[0]!.settled;
  const marked = settled === null ? null : depths.findIndex((depth) => depth.site === settled);
  const x = depths.map((depth) => ({ label: name(depth.site), token: false, site: depth.site }));
  const series = (value: (cell: Cell) => number) => there.map(({ pin: { label }, path }) => ({ label, token: true, site: null, values: path.depths.map((depth) => value(depth.cells[0]!)) }));
  const told = marked === null ? "" : `Dashed: from here on ${visible(there[0]!.pin.label)} is first.`;
  return [
    { kind: "lines", title: "Probability over depth", caption: told, unit: "probability", maximum: 1, x, series: series((cell) => cell.target_probability), marked },
    { kind: "lines", title: "Rank over depth", caption: "By its logarithm: 0 is the first of all tokens, 1 the tenth, 2 the hundredth.", unit: "log10 of the rank", maximum: null, x, series: series((cell) => Math.log10(cell.target_rank)), marked },
  ];
}

const After = ({ patching }: { patching: Patching }) => (
  showing.value === "A−B" && other.value === null ? <OnePatch patching={patching} empty="Drag a cell of one prompt onto the same token of the other, or press P on it: its stream is put there, and the model runs on." /> : null
);
