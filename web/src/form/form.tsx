/** A form made of a JSON schema: what an analysis takes, with its documentation. */
import { useState } from "preact/hooks";
import { visible } from "../draw/text";

type Schema = { type?: string; enum?: string[]; const?: string; anyOf?: Schema[]; items?: Schema; default?: unknown; title?: string; description?: string; file?: string };
export type Values = Record<string, unknown>;
type Properties = Record<string, Schema>;

export const properties = (schema: Readonly<Record<string, unknown>>): Properties => (schema.properties ?? {}) as Properties;

/** The schema without `null`, and whether null was one of its choices. */
function bare(schema: Schema): [Schema, boolean] {
  const options = schema.anyOf?.filter((option) => option.type !== "null");
  return options?.length === 1 ? [{ ...schema, ...options[0] }, options.length < schema.anyOf!.length] : [schema, false];
}

/** Text of a field as the value that the schema asks for; an error says what is wrong with it. */
export function parse(schema: Schema, text: string): unknown {
  const [plain, optional] = bare(schema);
  if (text === "" && optional) return null;
  if (plain.type === "integer" || plain.type === "number") {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value)) throw new Error("a number is needed");
    if (plain.type === "integer" && !Number.isInteger(value)) throw new Error("a whole number is needed");
    return value;
  }
  if (plain.type === "array") return text.split("\n").filter((line) => line !== "").map((line) => parse(plain.items ?? {}, line));
  return text;
}

export function Form({ schema, initial, onRun, busy }: {
  schema: Readonly<Record<string, unknown>>; initial: Values; onRun: (values: Values) => void; busy: boolean;
}) {
  const fields = Object.entries(properties(schema)).filter(([, field]) => field.file === undefined || field.file.startsWith("."));
  const required = new Set((schema.required ?? []) as string[]);
  const [texts, setTexts] = useState<Record<string, string | boolean>>(() =>
    Object.fromEntries(fields.map(([name, field]) => [name, start(initial[name] ?? field.default)])));
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const submit = (event: Event) => {
    event.preventDefault();
    const [values, faults]: [Values, Record<string, string>] = [{}, {}];
    for (const [name, field] of fields) {
      const text = texts[name]!;
      try {
        values[name] = typeof text === "boolean" ? text : parse(field, text);
        if (required.has(name) && text === "") faults[name] = "this is needed";
      } catch (error) { faults[name] = (error as Error).message; }
    }
    setWrong(faults);
    if (Object.keys(faults).length === 0) onRun(values);
  };
  const field = ([name, given]: [string, Schema]) => (
    <Field name={name} schema={given} text={texts[name]!} fault={wrong[name]} onText={(text) => setTexts({ ...texts, [name]: text })} />
  );
  const more = fields.filter(([name]) => !required.has(name));
  return (
    <form onSubmit={submit}>
      {fields.filter(([name]) => required.has(name)).map(field)}
      {more.length > 0 && <details><summary>{more.length} options</summary>{more.map(field)}</details>}
      <button type="submit" class="primary" disabled={busy}>Run</button>
    </form>
  );
}

function start(value: unknown): string | boolean {
  if (typeof value === "boolean") return value;
  return Array.isArray(value) ? value.join("\n") : value === null || value === undefined ? "" : String(value);
}

function Field({ name, schema, text, fault, onText }: {
  name: string; schema: Schema; text: string | boolean; fault: string | undefined; onText: (text: string | boolean) => void;
}) {
  const [plain, optional] = bare(schema);
  const id = `field-${name}`;
  const note = `${id}-note`;
  const given = { id, name, "aria-describedby": note, "aria-invalid": fault ? true : undefined } as const;
  const choices = plain.enum ?? (plain.const !== undefined ? [plain.const] : null);
  return (
    <div class="field">
      {typeof text === "boolean" ? (
        <label><input type="checkbox" {...given} checked={text} onChange={(event) => onText(event.currentTarget.checked)} /> {name.replaceAll("_", " ")}</label>
      ) : (
        <>
          <label for={id}>{name.replaceAll("_", " ")}</label>
          {choices ? (
            <select {...given} value={text} onChange={(event) => onText(event.currentTarget.value)}>
              {optional && <option value="">(none)</option>}
              {choices.map((choice) => <option value={choice}>{visible(choice)}</option>)}
            </select>
          ) : plain.type === "array" || name === "prompt" || name === "clean" || name === "corrupted" ? (
            <textarea {...given} rows={2} value={text} onInput={(event) => onText(event.currentTarget.value)} />
          ) : (
            <input type="text" {...given} value={text} inputMode={plain.type === "integer" ? "numeric" : "text"} onInput={(event) => onText(event.currentTarget.value)} />
          )}
        </>
      )}
      <small id={note} class={fault ? "fault" : "muted"}>{fault ?? schema.description}{plain.type === "array" && !fault ? " One a line." : ""}</small>
    </div>
  );
}
