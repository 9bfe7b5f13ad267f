/** Which heads reach the answer through which: a tree, grown on demand since every branch is a sweep. */
import type { View } from "../api/generated";
import { sides, type Side } from "../state/lab";
import { PAIRED, pairOf, useBoth } from "./analysis";
import { Sided } from "./sided";

const all = (views: readonly View[]) => views;

export function PathTree() {
  const asked = useBoth("path_tree", "paths");
  const run = (of: Side) => asked[of.name].start(pairOf(of));
  return (
    <Sided id="paths" title="Path tree" asked={asked} again={run} pick={all} empty="Grow the tree for the two prompts of the sweep above."
      about={`Who moves the answer directly, who moves it through them, and so on down: path patching of prompt B into A. A strong path is a cause here; a weak one may be backed up elsewhere. ${PAIRED}`}
      controls={<p class="choices"><button class="primary" onClick={() => sides.value.forEach(run)} disabled={asked.busy}>Grow the tree</button></p>} />
  );
}
