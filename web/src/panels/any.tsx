/** Any analysis of the registry, by a form made of its parameters. */
import { useState } from "preact/hooks";
import { catalogue, corrupted, prompt } from "../state/lab";
import { Form, properties } from "../form/form";
import { Picture } from "../views";
import { useAnalysis } from "./analysis";
import { Panel } from "./frame";

export function AnyAnalysis() {
  const [name, setName] = useState("explain");
  const spec = catalogue.value.find((each) => each.name === name);
  const themes = [...new Set(catalogue.value.map((each) => each.theme))];
  return (
    <Panel id="any" title="Every analysis" wide state={null} empty="" about="The whole catalogue, as commands and the library have it; results carry the Python that makes them.">
      <p class="choices">
        <label for="analysis">Analysis</label>
        <select id="analysis" value={name} onChange={(event) => setName(event.currentTarget.value)}>
          {themes.map((theme) => (
            <optgroup label={theme}>{catalogue.value.filter((each) => each.theme === theme).map((each) => <option value={each.name}>{each.command}</option>)}</optgroup>
          ))}
        </select>
        <span>{spec?.headline}</span>
      </p>
      {spec && <One key={spec.name} spec={spec} />}
    </Panel>
  );
}

function One({ spec }: { spec: (typeof catalogue.value)[number] }) {
  const { state, start, cancel } = useAnalysis(spec.name);
  const known = properties(spec.parameters);
  const initial = { ...("prompt" in known && { prompt: prompt.value }), ...("clean" in known && { clean: prompt.value }), ...("corrupted" in known && { corrupted: corrupted.value }) };
  const busy = state.status === "queued" || state.status === "running";
  return (
    <div class="split">
      <Form schema={spec.parameters} initial={initial} busy={busy} onRun={start} />
      <div>
        <Panel id={`any-${spec.command}`} title={state.answer?.title ?? spec.command} about={spec.headline} state={state} empty="Fill the form and run it." onCancel={cancel}>
          {state.answer && <p class="summary">{state.answer.summary}</p>}
          {state.answer?.views.map((view) => <Picture key={view.title} view={view} />)}
        </Panel>
      </div>
    </div>
  );
}
