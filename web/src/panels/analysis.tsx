/** A panel that shows an analysis of the registry: asked again whenever what it is about changes. */
import { useEffect, useState } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { View } from "../api/generated";
import { EMPTY, type Run } from "../api/session";
import { session } from "../state/lab";
import { Picture } from "../views";
import { Panel } from "./frame";

/** The newest run of an analysis; a new one calls the old one off. */
export function useAnalysis(name: string) {
  const [run, setRun] = useState<Run | null>(null);
  const none = useSignal(EMPTY);
  const start = (args: Record<string, unknown>) => {
    run?.cancel();
    setRun(session.start({ type: "run", analysis: name, arguments: args }));
  };
  return { state: (run?.state ?? none).value, start, cancel: () => run?.cancel() };
}

type Props = {
  id: string; title: string; about: string; analysis: string;
  /** What it is asked; null while there is nothing to ask. */
  args: Record<string, unknown> | null;
  pick?: (views: readonly View[]) => readonly View[]; wide?: boolean;
};

export function AnalysisPanel({ id, title, about, analysis, args, pick, wide }: Props) {
  const { state, start, cancel } = useAnalysis(analysis);
  const asked = JSON.stringify(args);
  useEffect(() => { if (args) start(args); }, [asked]);
  const views = state.answer?.views ?? [];
  return (
    <Panel id={id} title={title} about={about} state={state} empty="Analyse a prompt to fill this." wide={wide ?? false}
      onCancel={cancel} onRetry={args ? () => start(args) : undefined}>
      {state.answer && <p class="summary">{state.answer.summary}</p>}
      {(pick ? pick(views) : views).map((view) => <Picture key={view.title} view={view} />)}
    </Panel>
  );
}
