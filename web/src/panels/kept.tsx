/** Results of before, from the command line, from Python or from this page, shown again without computing. */
import "./kept.css";
import { useEffect, useState } from "preact/hooks";
import type { KeptRun, View } from "../api/generated";
import { linked, list, open, refused, runs, short, shownRun } from "../state/kept";
import { alone } from "../state/run-file";
import { Panel } from "./frame";
import { Said } from "./sided";

const all = (views: readonly View[]) => views;
/** Milliseconds in which the panels above have their programs, and their heights. */
const PAUSE = 100;
const nameOf = ({ analysis, kind }: KeptRun): string => analysis?.replaceAll("_", "-") ?? kind;
const isMeant = (words: string, run: KeptRun): boolean => {
  const text = `${run.id} ${nameOf(run)} ${run.model} ${run.summary}`.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
};

export function Kept() {
  const [words, setWords] = useState("");
  const shown = shownRun.value;
  useEffect(() => { if (!alone) void list(); }, []);
  useEffect(() => {
    if (!linked.value || runs.value === null || !shown) return;
    linked.value = false;
    requestAnimationFrame(() => setTimeout(() => document.getElementById("kept")?.scrollIntoView(), PAUSE));
  }, [runs.value, shown]);
  const found = runs.value?.filter((run) => isMeant(words.trim(), run)) ?? [];
  return (
    <Panel id="kept" title="Kept runs" state={null} answer={shown?.answer ?? null}
      about="What fluoro has found on this machine, and what Keep has kept of this page: shown again as it was, without computing. fluoro runs lists the same."
      before={alone ? <p class="state">This file has none: open it in fluoro lab.</p> : <>
        <p class="choices">
          <label>Search <input type="search" value={words} placeholder="lens, Paris, 3f2a …" onInput={(event) => setWords(event.currentTarget.value)} /></label>
          <button onClick={() => void list()}>Look again</button>
          <span class="muted" role="status">{runs.value && runs.value.length > 0 && `${found.length} of ${runs.value.length}`}</span>
        </p>
        {refused.value && <p class="state trouble" role="alert"><b>{refused.value.message}</b> {refused.value.hint}</p>}
        {runs.value?.length === 0 && <p class="state">Nothing is kept yet: every analysis of fluoro is, and Keep in a panel adds what it shows.</p>}
        {found.length > 0 && <List of={found} />}
      </>}>
      {shown && <Said answer={shown.answer} pick={all} />}
    </Panel>
  );
}

function List({ of }: { of: readonly KeptRun[] }) {
  const chosen = shownRun.value?.id;
  return (
    <div class="kept-runs" tabIndex={0} role="region" aria-label="the list of kept runs">
      <table>
        <thead><tr><th scope="col">Id</th><th scope="col">Kept (UTC)</th><th scope="col">Analysis</th><th scope="col">Model</th><th scope="col">Answer</th></tr></thead>
        <tbody>{of.map((run) => (
          <tr>
            <th scope="row"><button class="quiet token" aria-pressed={chosen !== undefined && run.id.startsWith(chosen)} onClick={() => void open(short(run.id))}>{short(run.id)}</button></th>
            <td>{run.kept.slice(0, 16).replace("T", " ")}</td><td>{nameOf(run)}</td><td>{run.model}</td><td class="answer">{run.summary}</td>
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}
