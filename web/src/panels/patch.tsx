/** Two prompts, every part's value of one put into the other: which bring the answer back. */
import { useEffect } from "preact/hooks";
import type { HeadGrid } from "../api/generated";
import { useChoice } from "../state/choices";
import { A, B, found } from "../state/lab";
import { Picture } from "../views";
import { useAnalysis } from "./analysis";
import { Panel, States } from "./frame";

export function PatchSweep() {
  const [grain, setGrain] = useChoice("patch.grain", "head_patching");
  const [direction, setDirection] = useChoice("patch.direction", "denoise");
  const sweeps = { head_patching: useAnalysis("head_patching", "patch"), activation_patching: useAnalysis("activation_patching", "patch") };
  const { state, answer, asked, start, cancel } = sweeps[grain as keyof typeof sweeps];
  const args = { clean: A.prompt.value, corrupted: B.prompt.value, direction };
  const run = () => start(args);
  useEffect(() => {
    const grid = answer?.views.find((view): view is HeadGrid => view.kind === "head_grid");
    if (grid) found.value = { ...found.value, "what its patch moves": grid };
  }, [answer]);
  const about = "Every part alone takes its value from the other prompt, in a run of its own; a share of 1 moves the answer all the way. Both prompts need as many tokens.";
  return (
    <Panel id="patch" title="Patch sweep" about={about} state={null} answer={answer}>
      <form class="inline" onSubmit={(event) => { event.preventDefault(); run(); }}>
        <label>Clean (A) <textarea rows={2} value={A.prompt.value} onInput={(event) => (A.prompt.value = event.currentTarget.value)} /></label>
        <label>Corrupted (B) <textarea rows={2} value={B.prompt.value} onInput={(event) => (B.prompt.value = event.currentTarget.value)} /></label>
        <label>Parts <select value={grain} onChange={(event) => setGrain(event.currentTarget.value)}>
          <option value="head_patching">heads</option><option value="activation_patching">layers × tokens</option>
        </select></label>
        <label>Direction <select value={direction} onChange={(event) => setDirection(event.currentTarget.value)}>
          <option value="denoise">denoise: clean into corrupted</option><option value="noise">noise: corrupted into clean</option>
        </select></label>
        <button type="submit" class="primary">Run the sweep</button>
      </form>
      {state.status === "ready" && asked !== JSON.stringify(args) && <p class="muted">The prompts or the direction were changed: this is the earlier sweep.</p>}
      <States state={state} empty="Run the sweep: a fraction of a second on the embedded model." old={answer !== null} onCancel={cancel} onRetry={run}>
        <p class="summary">{answer?.summary}</p>
        <div class="beside">{answer?.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </States>
    </Panel>
  );
}
