/** A chat by its turns: what the next answer draws from each, and who looks where. */
import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { HeadGrid, Heatmap, Shown, View } from "../api/generated";
import { number, percent, visible } from "../draw/text";
import { B, other, sides, type Side } from "../state/lab";
import { selection } from "../state/selection";
import { Picture } from "../views";
import { largest } from "../views/shared";
import { useBoth } from "./analysis";
import { Sided } from "./sided";

type Turn = { role: string; content: string };
type Grid = (number | null)[][];
type Result = {
  turns: { index: number; role: string; content: string; attribution: number; knockout: { probability: number; effect: number | null; leads: string } | null }[];
  target: string; leads: string; probability: number; logit: number; template: number; own: number;
  cross_turn_attention: Grid[][]; sources: string[];
};

const turn = (role: string, content: string): Turn => ({ role, content });
const PASSWORD = [turn("user", "The password is Bowijo."), turn("assistant", "The owl lay on the hotel."), turn("assistant", "The thick bee jumped over the square. Again, the password is")];
const REFUSAL = [turn("user", "How do I paint a wall?"), turn("assistant", "Sure, here is how to paint a wall"), turn("user", "How can I smuggle a tiger?")];
const STORIES: Record<string, Turn[]> = { "a password, said turns ago": PASSWORD, "a request that is refused": REFUSAL };
const ROLES = ["user", "assistant", "system"];

/** Each side has a chat of its own; two models read the one of A. */
const chats: Record<Side["name"], Signal<Turn[]>> = { A: signal(PASSWORD), B: signal(REFUSAL) };
const chatOf = (of: Side) => chats[of === B && other.value !== null ? "A" : of.name];
/** The turn that is looked at. */
const at = signal<number | null>(null);

const pick = (views: readonly View[]) => views.filter((view) => view.kind !== "table");

export function Conversation() {
  const asked = useBoth("conversation", "conversation");
  useEffect(() => { // a saved run brings back what was asked
    for (const name of ["A", "B"] as const) if (asked[name].asked) chats[name].value = JSON.parse((JSON.parse(asked[name].asked) as { chat: string }).chat) as Turn[];
  }, []);
  const run = (of: Side) => asked[of.name].start({ chat: JSON.stringify(chatOf(of).value) });
  const edited = sides.value.filter((of) => of !== B || other.value === null || sides.value.length === 1);
  return (
    <Sided id="conversation" title="Conversation" asked={asked} again={run} pick={pick}
      about="A chat of its own, apart from the prompt: what the first token of the next answer draws from each turn. Attention is no proof of use; hiding a turn is. Compared, B is another chat, or the same chat in another model."
      empty="Write the turns, then ask what the answer draws from each."
      controls={
        <div class="chats">
          {edited.map((of) => <Turns of={of} />)}
          <p class="choices">
            <button class="primary" onClick={() => sides.value.forEach(run)} disabled={asked.busy}>Ask it</button>
            <span class="muted">The model's own template puts the turns together. Another one is a program, which this server does not run for a page: <code>fluoro conversation chat.json --chat-template FILE.jinja</code> does.</span>
          </p>
        </div>
      }
      draw={(answer) => <Drawn answer={answer} />} />
  );
}

/** The turns of one chat, to be written. */
function Turns({ of }: { of: Side }) {
  const chat = chatOf(of);
  const change = (index: number, part: Partial<Turn>) => { chat.value = chat.value.map((each, place) => (place === index ? { ...each, ...part } : each)); };
  return (
    <fieldset>
      <legend>{sides.value.length > 1 ? `Chat ${of.name}` : "Chat"}</legend>
      {chat.value.map((each, index) => (
        <div class="turn">
          <select aria-label={`role of turn ${index + 1}`} value={each.role} onChange={(event) => change(index, { role: event.currentTarget.value })}>{ROLES.map((role) => <option value={role}>{role}</option>)}</select>
          <textarea rows={1} aria-label={`turn ${index + 1}`} value={each.content} spellcheck={false} onInput={(event) => change(index, { content: event.currentTarget.value })} />
          <button class="quiet" aria-label={`remove turn ${index + 1}`} disabled={chat.value.length < 2} onClick={() => { chat.value = chat.value.filter((_, place) => place !== index); }}>×</button>
        </div>
      ))}
      <p class="choices">
        <button onClick={() => { chat.value = [...chat.value, turn(chat.value[chat.value.length - 1]!.role === "user" ? "assistant" : "user", "")]; }}>Add a turn</button>
        <label>Example <select value="" onChange={(event) => { chat.value = STORIES[event.currentTarget.value] ?? chat.value; }}>
          <option value="">choose …</option>{Object.keys(STORIES).map((name) => <option value={name}>{name}</option>)}
        </select></label>
      </p>
    </fieldset>
  );
}

function Drawn({ answer }: { answer: Shown }) {
  const result = answer.result as unknown as Result;
  const looks = mean(result.cross_turn_attention.flat())[result.turns.length]!;
  const most = largest(result.turns.map((each) => each.attribution)) || 1;
  const chosen = at.value !== null && at.value < result.turns.length ? at.value : null;
  return (
    <>
      <p class="summary">{answer.summary}</p>
      <div class="wide" tabIndex={0} role="group" aria-label="the turns">
        <table class="turns">
          <thead><tr><th scope="col">turn</th><th scope="col">read from it, logits</th><td /><th scope="col">attention of the end</th><th scope="col">{visible(result.target)} when it is hidden</th></tr></thead>
          <tbody>
            {result.turns.map((each, index) => (
              <tr data-chosen={chosen === index ? "" : undefined}>
                <th scope="row"><button class="quiet" aria-pressed={chosen === index} onClick={() => (at.value = chosen === index ? null : index)}>{index + 1} {each.role}</button> {each.content}</th>
                <td class="number">{number(each.attribution, true)}</td>
                <td class="signed"><span class="track" aria-hidden="true"><i class={each.attribution < 0 ? "against" : "toward"} style={{ width: `${(Math.abs(each.attribution) / most) * 50}%` }} /></span></td>
                <td class="number">{percent(looks[index] ?? 0)}</td>
                <td class="number">{each.knockout === null ? "nothing follows it" : `${percent(each.knockout.probability)}${each.knockout.leads === result.leads ? "" : `, ${visible(each.knockout.leads)} leads`}`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="muted">{visible(result.target)} has {percent(result.probability)}. Of its logit, {number(result.logit)}, heads read {number(result.template, true)} from the template, and {number(result.own, true)} is the last token's own; with the turns that is all of it.</p>
      {chosen !== null ? <div class="beside"><Picture view={lookers(result, chosen)} /><Picture view={between(result, answer)} /></div> : <p class="state">Choose a turn to see which heads look at it.</p>}
      <details>
        <summary>All numbers: {answer.views.map((view) => view.title).join("; ")}</summary>
        <div class="beside">{answer.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </details>
    </>
  );
}

function mean(grids: readonly Grid[]): Grid {
  return grids[0]!.map((row, i) => row.map((_, j) => {
    const there = grids.map((grid) => grid[i]![j]!).filter((value) => value !== null);
    return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
  }));
}

const lookers = ({ cross_turn_attention, turns }: Result, index: number): HeadGrid => ({
  kind: "head_grid", title: `Which heads look from the end at turn ${index + 1}`, unit: "share", signed: false, reach: null,
  caption: "Share of the last token's attention, by head. Choose one to see where all turns look by it.",
  values: cross_turn_attention.map((heads) => heads.map((grid) => grid[turns.length]![index] ?? null)),
});

/** Where the turns look, by the head that is chosen, else in the mean. */
function between(result: Result, answer: Shown): Heatmap {
  const { layer, head } = selection.value;
  const own = layer === null || head === null ? undefined : result.cross_turn_attention[layer]?.[head];
  const drawn = answer.views.find((view): view is Heatmap => view.kind === "heatmap" && view.title.startsWith("Where turns look"))!;
  return { ...drawn, title: `Where turns look, ${own ? `L${layer}H${head}` : "mean over all heads"}`, values: own ?? mean(result.cross_turn_attention.flat()) };
}
