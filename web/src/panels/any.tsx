/** Any analysis of the registry, by a form made of its parameters. */
import { analysis } from "../state/chosen";
import { A, B, catalogue } from "../state/lab";
import { Form, properties } from "../form/form";
import { Picture } from "../views";
import { useAnalysis } from "./analysis";
import { Panel } from "./frame";

export function AnyAnalysis() {
  const name = analysis.value;
  const spec = catalogue.value.find((each) => each.name === name);
  const themes = [...new Set(catalogue.value.map((each) => each.theme))];
  return (
    <Panel id="any" title="Every analysis" state={null} about="The whole catalogue, as commands and the library have it; results carry the Python that makes them.">
      <p class="choices">
        <label for="analysis">Analysis</label>
        <select id="analysis" value={name} onChange={(event) => (analysis.value = event.currentTarget.value)}>
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
  const { state, answer, asked, start, cancel } = useAnalysis(spec.name, "any");
  const last = asked ? (JSON.parse(asked) as Record<string, unknown>) : {};
  const known = properties(spec.parameters);
  const initial = { ...("prompt" in known && { prompt: A.prompt.value }), ...("clean" in known && { clean: A.prompt.value }), ...("corrupted" in known && { corrupted: B.prompt.value }), ...last };
  const busy = state.status === "queued" || state.status === "running";
  return (
    <div class="split">
      <Form schema={spec.parameters} initial={initial} busy={busy} onRun={start} />
      <div>
        <Panel id={`any-${spec.command}`} title={answer?.title ?? spec.command} answer={answer} about={spec.headline} state={state} empty="Fill the form and run it." onCancel={cancel} onRetry={() => start(last)}>
          <p class="summary">{answer?.summary}</p>
          {answer?.views.map((view) => <Picture key={view.title} view={view} />)}
        </Panel>
      </div>
    </div>
  );
}
