/** One patch, run exactly: what of one prompt goes into the other, the answer before and after. */
import "./onepatch.css";
import { useState } from "preact/hooks";
import { visible } from "../draw/text";
import { aimed } from "../state/aims";
import { copy } from "../state/clipboard";
import { A, B, session } from "../state/lab";
import { Picture } from "../views";
import { useAnalysis, type Asking } from "./analysis";
import { States } from "./frame";

/** What is taken: sites, all at once, at some tokens or at all. */
export type Taken = { sites: string[]; positions: number[] | null; direction?: "denoise" | "noise" };

export const written = (taken: Taken): string => JSON.stringify(taken);
/** What was dropped, if it is one of ours: anything may be dropped on a page. */
export function read(text: string): Taken | null {
  try {
    const { sites, positions, direction } = JSON.parse(text) as Partial<Taken>;
    const places = positions === null || (Array.isArray(positions) && positions.every((place) => Number.isInteger(place)));
    return Array.isArray(sites) && sites.every((site) => typeof site === "string") && places ? { sites, positions: positions ?? null, ...((direction === "noise" || direction === "denoise") && { direction }) } : null;
  } catch { return null; }
}

export type Patching = { asking: Asking; run: (taken: Taken) => void; python: (taken: Taken) => void; note: string; say: (note: string) => void };

export function usePatching(panel: string, direction: () => string, ends: () => [string, string] = () => [A.prompt.value, B.prompt.value]): Patching {
  const asking = useAnalysis("patched_run", panel);
  const [note, setNote] = useState("");
  const args = ({ sites, positions, direction: way }: Taken) => {
    const [clean, corrupted] = ends();
    return { clean, corrupted, sites, ...(positions && { positions }), direction: way ?? direction(), ...aimed({ target: "answer", foil: "foil" }) };
  };
  const python = (taken: Taken) => void session.start({ type: "run", analysis: "patched_run", arguments: args(taken) }, ({ text }) => {
    if (text?.type === "error") setNote(`${text.message}. ${text.hint}`);
    const call = text?.type === "result" ? (text.result as { call?: { script: string } }).call : undefined;
    if (call) void copy(call.script, "Python").then(setNote);
  });
  return { asking, run: (taken) => { setNote(""); asking.start(args(taken)); }, python, note, say: setNote };
}

/** What came of the last one. */
export function OnePatch({ patching, empty }: { patching: Patching; empty: string }) {
  const { asking: { state, answer, start, cancel }, note } = patching;
  const call = (answer?.result as { call?: { script: string; arguments: Record<string, unknown> } } | undefined)?.call;
  return (
    <div class="onepatch" role="group" aria-label="One patch" data-status={state.status}>
      <h3>One patch {call && state.status === "ready" && <button class="quiet" onClick={() => void copy(call.script, "Python").then(patching.say)}>Python</button>} <span class="muted" role="status">{note}</span></h3>
      <States state={state} empty={empty} old={answer !== null} onCancel={cancel} onRetry={call && (() => start(call.arguments))}>
        <p class="summary">{answer?.summary}</p>
        <div class="beside">{answer?.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </States>
    </div>
  );
}

type StripProps = { clean: readonly string[]; corrupted: readonly string[]; changed: readonly number[]; site: string; onSite: (site: string) => void; onPatch: (taken: Taken) => void; direction: string };

/** Both prompts as tokens: a span of one is dragged onto the other, or chosen and patched by the button. */
export function Strips({ clean, corrupted, changed, site, onSite, onPatch, direction }: StripProps) {
  const [span, setSpan] = useState<[number, number] | null>(null);
  const [over, setOver] = useState(false);
  const within = (place: number) => span !== null && place >= span[0] && place <= span[1];
  const denoise = direction === "denoise";
  const [giver, taker] = denoise ? [clean, corrupted] : [corrupted, clean];
  const names = denoise ? ["clean (A)", "corrupted (B)"] : ["corrupted (B)", "clean (A)"];
  const taken = (from: [number, number] | null): Taken => ({ sites: site.split(/[\s,]+/).filter(Boolean), positions: from && Array.from({ length: from[1] - from[0] + 1 }, (_, index) => from[0] + index) });
  const choose = (place: number, wider: boolean) => setSpan(wider && span ? [Math.min(span[0], place), Math.max(span[1], place)] : span && span[0] === place && span[1] === place ? null : [place, place]);
  return (
    <div class="strips">
      <p class="choices">
        <label for="part">Part</label>
        <input id="part" type="text" value={site} spellcheck={false} onInput={(event) => onSite(event.currentTarget.value)} placeholder="L4H2, resid_pre.3, mlp_out.0" />
        <button type="button" disabled={!site.trim()} onClick={() => onPatch(taken(span))}>Patch {span === null ? "at all tokens" : span[0] === span[1] ? `at token ${span[0]}` : `at tokens ${span[0]} to ${span[1]}`}</button>
      </p>
      <p class="muted">Choose tokens (Shift widens), then drag them onto the other prompt, or press Patch; none chosen means all.</p>
      <div class="chips" role="group" aria-label={`tokens of ${names[0]}`}>
        <b>{names[0]}</b>
        {giver.map((text, place) => (
          <button type="button" class="token chip" draggable aria-pressed={within(place)} data-changed={changed.includes(place) ? "" : undefined} title={`token ${place}`}
            onClick={(event) => choose(place, event.shiftKey)}
            onDragStart={(event) => event.dataTransfer?.setData("text/plain", written(taken(within(place) ? span : [place, place])))}>{visible(text)}</button>
        ))}
      </div>
      <div class="chips target" role="group" aria-label={`tokens of ${names[1]}: drop here`} data-over={over ? "" : undefined}
        onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          const dropped = read(event.dataTransfer?.getData("text/plain") ?? "");
          if (dropped?.sites.length) onPatch(dropped);
        }}>
        <b>{names[1]}</b>
        {taker.map((text, place) => <span class="token chip" data-changed={changed.includes(place) ? "" : undefined}>{visible(text)}</span>)}
      </div>
    </div>
  );
}
