/** A panel of one question: of A, of B, or of both beside each other with what differs. */
import type { ComponentChildren } from "preact";
import type { Shown, View } from "../api/generated";
import { other, sides, type Side } from "../state/lab";
import { Picture } from "../views";
import { difference, together } from "../views/difference";
import type { Asking } from "./analysis";
import { failed, Panel, States } from "./frame";

type Props = {
  id: string; title: string; about: string; empty: string;
  asked: Record<Side["name"], Asking>;
  again: (of: Side) => void;
  /** The pictures that are compared. */
  pick: (views: readonly View[]) => readonly View[];
  /** What is drawn of an answer; without it the sentence and the picked pictures. */
  draw?: (answer: Shown, of: Side) => ComponentChildren;
  /** What stands above whatever the state is, and below what is drawn. */
  controls?: ComponentChildren; after?: ComponentChildren;
};

export function Sided({ id, title, about, empty, asked, again, pick, draw, controls, after }: Props) {
  const shown = sides.value.map((of) => ({ of, asking: asked[of.name] }));
  const drawn = ({ of, asking: { answer } }: (typeof shown)[number]) => answer && (draw ? draw(answer, of) : <Said answer={answer} pick={pick} />);
  const [{ of, asking }, second] = shown as [(typeof shown)[number], (typeof shown)[number] | undefined];
  if (!second) return (
    <Panel id={id} title={title} about={about} before={controls} state={asking.state} answer={asking.answer} empty={empty} onCancel={asking.cancel} onRetry={() => again(of)}>{drawn(shown[0]!)}{after}</Panel>
  );
  return (
    <Panel id={id} title={title} about={about} before={controls} state={null} answer={failed(asking.state) ? null : asking.answer}>
      <div class="pair">
        {shown.map((each) => (
          <div data-status={each.asking.state.status}>
            <h3>{each.of.name}{each.of.name === "B" && other.value !== null && ` · ${other.value}`}</h3>
            <States state={each.asking.state} empty={empty} old={each.asking.answer !== null} onCancel={each.asking.cancel} onRetry={() => again(each.of)}>{drawn(each)}</States>
          </div>
        ))}
      </div>
      {!shown.some((each) => failed(each.asking.state)) && asking.answer && second.asking.answer && <Differences one={pick(asking.answer.views)} two={pick(second.asking.answer.views)} />}
      {after}
    </Panel>
  );
}

export const Said = ({ answer, pick }: { answer: Shown; pick: (views: readonly View[]) => readonly View[] }) => (
  <>
    <p class="summary">{answer.summary}</p>
    <div class="beside">{pick(answer.views).map((view) => <Picture key={view.title} view={view} />)}</div>
  </>
);

/** Every picture less the other; of those that cannot be subtracted, why not. */
function Differences({ one, two }: { one: readonly View[]; two: readonly View[] }) {
  const same = other.value === null;
  const made = together(one, two).map(([first, second]) => ({ name: first.title, result: difference(first, second, same) }));
  const left = made.filter((each): each is { name: string; result: string } => typeof each.result === "string");
  return (
    <div class="differences">
      <div class="beside">{made.map(({ result }) => typeof result !== "string" && <Picture key={result.title} view={result} />)}</div>
      {left.length > 0 && <p class="muted">No difference is drawn: {left.map(({ name, result }) => `${name}: ${result}`).join("; ")}.</p>}
    </div>
  );
}
