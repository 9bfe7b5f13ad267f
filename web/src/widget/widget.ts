/** A result in a notebook, by anywidget's contract: https://anywidget.dev/en/afm/ */
import { join, tie, type Host } from "./link";
import { followNotebook } from "./notebook";
import { draw, type Given } from "./pictures";

function render({ model, el }: { model: Host; el: HTMLElement }): () => void {
  const place = document.createElement("div");
  place.className = "cell";
  place.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys for itself
  el.append(place);
  const given = JSON.parse(String(model.get("given"))) as Given;
  const ends = [followNotebook(), tie(model), join(String(model.get("group"))), draw(place, given)];
  return () => {
    for (const end of ends) end();
    place.remove();
  };
}

export default { render };
