/** One head in numbers, and the rule that named it. */
import { number, visible } from "../draw/text";
import { A, B, first } from "../state/lab";
import { focus } from "../state/selection";
import { useSide } from "./analysis";
import { Panel } from "./frame";

type Look = { query: number; key: number; weight: number };
type Role = { site: string; label: string; prev_token_score: number | null; duplicate_token_score: number | null; induction_score: number | null; why: Look; top: Look[]; value_norm: number };

export function Inspector() {
  const args = (prompt: string) => ({ prompt, seeds: 0 });
  const asked = { A: useSide("head_roles", A, args), B: useSide("head_roles", B, args) };
  const { name, tokens, layers } = first.value;
  const { state, answer, cancel } = asked[name];
  const { layer, head } = focus.value;
  const heads = (answer?.result.heads ?? []) as Role[];
  const role = heads.find((each) => each.site === `z.${layer}.${head}`);
  const rank = (name: keyof Role) => 1 + heads.filter((each) => Number(each[name] ?? -1) > Number(role?.[name] ?? -1)).length;
  const measures = layer === null ? null : layers.value[layer]?.heads ?? null;
  const rows: [string, number | null | undefined, string][] = role ? [
    ["looks at the token before", role.prev_token_score, `rank ${rank("prev_token_score")} of ${heads.length}`],
    ["looks at an earlier same token", role.duplicate_token_score, `rank ${rank("duplicate_token_score")}`],
    ["looks at what followed one (induction)", role.induction_score, `rank ${rank("induction_score")}`],
    ["writes (norm)", role.value_norm, `rank ${rank("value_norm")}`],
  ] : [];
  const text = (index: number) => `${visible(tokens.value[index] ?? "")} ${index}`;
  return (
    <Panel id="inspector" title={layer === null || head === null ? "Head" : `Head L${layer}H${head}${name === "B" ? ", B" : ""}`} answer={answer} state={role ? null : state} onCancel={cancel}
      about="Mean attention of this head on this prompt by what it falls on; a score of .4 or more names it, else it is diffuse." empty="Analyse a prompt first.">
      {!role ? <p class="state">Point at a head, or choose one.</p> : (
        <>
          <p class="summary">{role.label}: the hardest look that counts goes from {text(role.why.query)} to {text(role.why.key)}, {number(role.why.weight)}.</p>
          <table><tbody>
            {rows.map(([name, value, note]) => <tr><th scope="row">{name}</th><td class="number">{number(value ?? null)}</td><td class="muted">{note}</td></tr>)}
            {measures && <tr><th scope="row">entropy</th><td class="number">{number(measures.entropy[head!] ?? null)}</td><td class="muted">of an even look, mean over tokens</td></tr>}
          </tbody></table>
          <p class="muted">Largest looks: {role.top.map((look) => `${text(look.query)} → ${text(look.key)} ${number(look.weight)}`).join("; ")}</p>
        </>
      )}
    </Panel>
  );
}
