/** What each depth would say next, told while the layers come in. */
import { percent, visible } from "../draw/text";
import { first, sides, type Side } from "../state/lab";
import { EMPTY } from "../api/session";
import { Panel } from "./frame";

export function Depth() {
  const state = first.value.run.value?.state.value ?? EMPTY;
  const there = first.value.layers.value.some((layer) => layer !== null);
  return (
    <Panel id="depth" title="The answer forms" state={there ? null : state.status === "error" ? EMPTY : state} empty="Analyse a prompt to watch it."
      about="The likeliest next token if the model stopped behind each layer (logit lens at the last token). Early layers speak another code: their words may mean little.">
      <div class="pair">{sides.value.map((of) => <div>{sides.value.length > 1 && <h3>{of.name}</h3>}<Layers of={of} /></div>)}</div>
    </Panel>
  );
}

const Layers = ({ of }: { of: Side }) => (
  <ol class="depth" reversed>
    {of.layers.value.map((layer, index) => ({ layer, index })).reverse().map(({ layer, index }) => (
      <li data-there={layer ? "" : undefined}>
        <span class="muted">L{index}</span>
        {layer?.says.slice(0, sides.value.length > 1 ? 1 : 3).map((said, rank) => (
          <span class={rank ? "said muted" : "said"}>
            <span class="token">{visible(said.label)}</span> {percent(said.probability)}
            {rank === 0 && <i class="track" aria-hidden="true"><i class="toward" style={{ width: `${said.probability * 100}%` }} /></i>}
          </span>
        ))}
      </li>
    ))}
  </ol>
);
