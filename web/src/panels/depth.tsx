/** What each depth would say next, told while the layers come in; of two models at the same share of their depth. */
import { percent, visible } from "../draw/text";
import { EMPTY } from "../api/session";
import { first, other, sides, type LiveLayer } from "../state/lab";
import { Panel } from "./frame";

export function Depth() {
  const state = first.value.run.value?.state.value ?? EMPTY;
  const there = first.value.layers.value.some((layer) => layer !== null);
  const over = sides.value.every((of) => of.shown.value !== null);
  return (
    <Panel id="depth" title="The answer forms" state={there ? null : state.status === "error" ? EMPTY : state} empty="Analyse a prompt to watch it." own={over ? () => import("./own").then(({ depth }) => depth()) : null}
      about="The likeliest next token if the model stopped behind each layer (logit lens at the last token). Early layers speak another code: their words may mean little.">
      {other.value !== null && sides.value.length > 1 ? <Aligned /> : (
        <div class="pair">{sides.value.map((of) => <div>{sides.value.length > 1 && <h3>{of.name}</h3>}<Layers layers={of.layers.value} most={sides.value.length > 1 ? 1 : 3} /></div>)}</div>
      )}
    </Panel>
  );
}

const Layers = ({ layers, most }: { layers: readonly (LiveLayer | null)[]; most: number }) => (
  <ol class="depth" reversed>
    {layers.map((layer, index) => ({ layer, index })).reverse().map(({ layer, index }) => (
      <li data-there={layer ? "" : undefined}><span class="muted">L{index}</span>{layer?.says.slice(0, most).map((said, rank) => <Word said={said} rank={rank} />)}</li>
    ))}
  </ol>
);

const Word = ({ said, rank }: { said: LiveLayer["says"][number]; rank: number }) => (
  <span class={rank ? "said muted" : "said"}>
    <span class="token">{visible(said.label)}</span> {percent(said.probability)}
    {rank === 0 && <i class="track" aria-hidden="true"><i class="toward" style={{ width: `${said.probability * 100}%` }} /></i>}
  </span>
);

/** Two models of other depths: a row for every share of the depth at which either of them has a layer. */
function Aligned() {
  const both = sides.value.map((of) => of.layers.value);
  const depths = new Map<number, (number | null)[]>();
  both.forEach((layers, side) => layers.forEach((_, index) => {
    const share = Math.round(((index + 1) / layers.length) * 1000);
    const row = depths.get(share) ?? [null, null];
    row[side] = index;
    depths.set(share, row);
  }));
  return (
    <div class="wide" tabIndex={0} role="group" aria-label="both models by depth">
      <table class="aligned">
        <thead><tr><th scope="col">depth</th><th scope="col">A</th><th scope="col">B · {other.value}</th></tr></thead>
        <tbody>
          {[...depths].sort((a, b) => b[0] - a[0]).map(([share, row]) => (
            <tr>
              <th scope="row" class="number muted">{Math.round(share / 10)} %</th>
              {row.map((index, side) => <td>{index !== null && <><span class="muted">L{index} </span>{both[side]![index]?.says.slice(0, 1).map((said) => <Word said={said} rank={0} />)}</>}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
