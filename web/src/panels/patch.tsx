/** Two prompts, every part's value of one put into the other: which bring the answer back. */
import { useState } from "preact/hooks";
import { corrupted, prompt } from "../state/lab";
import { Picture } from "../views";
import { useAnalysis } from "./analysis";
import { Panel } from "./frame";

export function PatchSweep() {
  const [grain, setGrain] = useState("head_patching");
  const [direction, setDirection] = useState("denoise");
  const heads = useAnalysis("head_patching");
  const places = useAnalysis("activation_patching");
  const { state, start, cancel } = grain === "head_patching" ? heads : places;
  const run = () => start({ clean: prompt.value, corrupted: corrupted.value, direction });
  return (
    <>
      <Panel id="patch" title="Patch sweep" wide state={null} empty=""
        about="Every part alone takes its value from the other prompt, in a run of its own; a share of 1 moves the answer all the way. Both prompts need as many tokens.">
        <form class="inline" onSubmit={(event) => { event.preventDefault(); run(); }}>
          <label>Clean <input type="text" value={prompt.value} onInput={(event) => (prompt.value = event.currentTarget.value)} /></label>
          <label>Corrupted <input type="text" value={corrupted.value} onInput={(event) => (corrupted.value = event.currentTarget.value)} /></label>
          <label>Parts <select value={grain} onChange={(event) => setGrain(event.currentTarget.value)}>
            <option value="head_patching">heads</option><option value="activation_patching">layers × tokens</option>
          </select></label>
          <label>Direction <select value={direction} onChange={(event) => setDirection(event.currentTarget.value)}>
            <option value="denoise">denoise: clean into corrupted</option><option value="noise">noise: corrupted into clean</option>
          </select></label>
          <button type="submit" class="primary">Run the sweep</button>
        </form>
        <Result state={state} onCancel={cancel} onRetry={run} />
      </Panel>
    </>
  );
}

function Result({ state, onCancel, onRetry }: { state: ReturnType<typeof useAnalysis>["state"]; onCancel: () => void; onRetry: () => void }) {
  if (state.status === "empty") return <p class="state">Run the sweep: a fraction of a second on the embedded model.</p>;
  if (state.status === "error") return <p class="state trouble" role="alert"><b>{state.trouble?.message}</b> {state.trouble?.hint}</p>;
  if (state.status === "cancelled") return <p class="state">Called off. <button onClick={onRetry}>Run again</button></p>;
  if (state.status !== "ready") return <p class="state" role="status">{state.label || "waiting"} … <button onClick={onCancel}>Cancel</button></p>;
  return (
    <>
      <p class="summary">{state.answer!.summary}</p>
      <div class="beside">{state.answer!.views.map((view) => <Picture key={view.title} view={view} />)}</div>
    </>
  );
}
