/** Any analysis of the registry, by a form made of its parameters. */
import { useState } from "preact/hooks";
import type { Analysis, View } from "../api/generated";
import { Form, properties, type Values } from "../form/form";
import { useChoice } from "../state/choices";
import { analysis } from "../state/chosen";
import { A, B, catalogue, other, showing, sides, type Side } from "../state/lab";
import { useBoth } from "./analysis";
import { Panel } from "./frame";
import { Sided } from "./sided";

const all = (views: readonly View[]) => views;

/** Whether every word is in its name, headline, theme or documentation. */
function found(words: string, { command, headline, theme, doc }: Analysis): boolean {
  const text = `${command} ${headline} ${theme} ${doc}`.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

export function AnyAnalysis() {
  const name = analysis.value;
  const setName = (next: string) => { analysis.value = next; };
  const [words, setWords] = useState("");
  const spec = catalogue.value.find((each) => each.name === name);
  const listed = catalogue.value.filter((each) => found(words.trim(), each));
  const themes = [...new Set(listed.map((each) => each.theme))];
  return (
    <Panel id="any" title="Every analysis" state={null} about="The whole catalogue, as commands and the library have it; results carry the Python that makes them.">
      <p class="choices">
        <label for="analysis">Analysis</label>
        <select id="analysis" value={name} onChange={(event) => setName(event.currentTarget.value)}>
          {spec && !listed.includes(spec) && <option value={spec.name}>{spec.command}</option>}
          {themes.map((theme) => (
            <optgroup label={theme}>{listed.filter((each) => each.theme === theme).map((each) => <option value={each.name}>{each.command}</option>)}</optgroup>
          ))}
        </select>
        <label>Search <input type="search" value={words} placeholder="attention, patch, lens …" onInput={(event) => setWords(event.currentTarget.value)} /></label>
        <span class="muted" role="status">{words && (listed.length ? `${listed.length} of ${catalogue.value.length}` : "none has these words")}</span>
      </p>
      {words.trim() !== "" && listed.length > 0 && listed.length < catalogue.value.length && (
        <ul class="found">{listed.map((each) => <li><button class="quiet" onClick={() => setName(each.name)}>{each.command}</button> <span class="muted">{each.headline}</span></li>)}</ul>
      )}
      {spec && <One key={spec.name} spec={spec} />}
    </Panel>
  );
}

/** What B asks: its own prompt where A's is asked about, two prompts the other way round, or the same of another model. */
function given(values: Values, of: Side): Values {
  if (of === A || other.value !== null) return values;
  const swapped = "clean" in values && "corrupted" in values ? { clean: values.corrupted, corrupted: values.clean } : {};
  return { ...values, ...("prompt" in values && { prompt: B.prompt.value }), ...swapped };
}

function means(known: Values): string {
  if (other.value !== null) return `B asks the same of ${other.value}.`;
  if ("clean" in known) return "B asks the same with the two prompts exchanged.";
  return "prompt" in known ? "B asks the same of prompt B." : "B asks the same: only another model would answer otherwise. Choose one under Compare.";
}

function One({ spec }: { spec: Analysis }) {
  const asked = useBoth(spec.name, "any");
  const [form, setForm] = useChoice(`any.${spec.name}.form`, "");
  const last = form ? (JSON.parse(form) as Values) : {};
  const known = properties(spec.parameters);
  const run = (of: Side) => asked[of.name].start(given(last, of));
  const initial = { ...("prompt" in known && { prompt: A.prompt.value }), ...("clean" in known && { clean: A.prompt.value }), ...("corrupted" in known && { corrupted: B.prompt.value }), ...last };
  const title = asked.A.answer?.title ?? spec.command;
  return (
    <div class="split">
      <div>
        {showing.value !== "A" && <p class="muted">{means(known)}</p>}
        <Form schema={spec.parameters} initial={initial} busy={asked.busy} onRun={(values) => { setForm(JSON.stringify(values)); for (const of of sides.value) asked[of.name].start(given(values, of)); }} />
        <details class="doc"><summary>What it is</summary><p>{spec.doc}</p></details>
      </div>
      <div><Sided id={`any-${spec.command}`} title={title} about={spec.headline} asked={asked} again={run} pick={all} empty="Fill the form and run it." /></div>
    </div>
  );
}
