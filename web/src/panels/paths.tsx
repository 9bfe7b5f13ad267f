/** Which heads reach the answer through which: a tree, grown on demand since every branch is a sweep. */
import { A, B } from "../state/lab";
import { Picture } from "../views";
import { useAnalysis } from "./analysis";
import { Panel, States } from "./frame";

export function PathTree() {
  const { state, answer, start, cancel } = useAnalysis("path_tree", "paths");
  const run = () => start({ clean: A.prompt.value, corrupted: B.prompt.value });
  return (
    <Panel id="paths" title="Path tree" state={null} answer={answer}
      about="Who moves the answer directly, who moves it through them, and so on down: path patching of prompt B into A. A strong path is a cause here; a weak one may be backed up elsewhere.">
      <p class="choices"><button class="primary" onClick={run} disabled={state.status === "queued" || state.status === "running"}>Grow the tree</button></p>
      <States state={state} empty="Grow the tree for the two prompts of the sweep above." old={answer !== null} onCancel={cancel} onRetry={run}>
        <p class="summary">{answer?.summary}</p>
        <div class="beside">{answer?.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </States>
    </Panel>
  );
}
