// Made by web/generate.py from the server's types; never edited.

/** A tie between two tokens of a text, by their indices: from `source` to `target`. */
export type Arc = { readonly source: number; readonly target: number; readonly value: number | null; };

/** A text as its tokens, with directed arcs between them; `marked` is the token that the result is about. */
export type Arcs = { readonly title: string; readonly caption: string; readonly kind: "arcs"; readonly unit: string; readonly signed: boolean; readonly items: readonly (TokenMark)[]; readonly arcs: readonly (Arc)[]; readonly marked: number | null; };

/** One bar, with an optional remark beside its number. */
export type Bar = { readonly label: string; readonly token: boolean; readonly site: string | null; readonly value: number | null; readonly remark: string; };

/** Bars, one below the other; `signed` bars grow from the middle, against to the left and for to the right. */
export type Bars = { readonly title: string; readonly caption: string; readonly kind: "bars"; readonly unit: string; readonly signed: boolean; readonly reach: number | null; readonly items: readonly (Bar)[]; };

/** A column of a table; `token` says that its strings are texts of tokens. */
export type Column = { readonly name: string; readonly token: boolean; };

/** A directed edge between two nodes, by their ids; `label` says by which way, in one short word such as q. */
export type Edge = { readonly source: string; readonly target: string; readonly value: number | null; readonly label: string; };

/** Nodes in ranks, and directed edges from lower to higher ranks; `signed` edges are for or against. */
export type Graph = { readonly title: string; readonly caption: string; readonly kind: "graph"; readonly unit: string; readonly signed: boolean; readonly nodes: readonly (Node)[]; readonly edges: readonly (Edge)[]; };

/** A number for every attention head, as `values[layer][head]`; each cell stands for the site `z.layer.head`. */
export type HeadGrid = { readonly title: string; readonly caption: string; readonly kind: "head_grid"; readonly unit: string; readonly signed: boolean; readonly reach: number | null; readonly values: readonly (readonly (number | null)[])[]; };

/** A grid of coloured numbers. */
export type Heatmap = { readonly title: string; readonly caption: string; readonly kind: "heatmap"; readonly unit: string; readonly signed: boolean; readonly maximum: number | null; readonly rows: readonly (Mark)[]; readonly columns: readonly (Mark)[]; readonly values: readonly (readonly (number | null)[])[]; readonly tokens: readonly (readonly (string)[])[] | null; };

/** Lines over a common axis, such as depth. */
export type Lines = { readonly title: string; readonly caption: string; readonly kind: "lines"; readonly unit: string; readonly maximum: number | null; readonly x: readonly (Mark)[]; readonly series: readonly (Series)[]; readonly marked: number | null; };

/** A labelled place in a picture. */
export type Mark = { readonly label: string; readonly token: boolean; readonly site: string | null; };

/** A node of a graph. */
export type Node = { readonly label: string; readonly token: boolean; readonly site: string | null; readonly id: string; readonly rank: number; readonly group: string; readonly value: number | null; };

/** A labelled point; points of one group share colour and shape. */
export type Point = { readonly label: string; readonly token: boolean; readonly site: string | null; readonly x: number; readonly y: number; readonly z: number | null; readonly group: string | null; };

/** A row of a table. */
export type Row = { readonly cells: readonly (string | number | null)[]; readonly site: string | null; };

/** Points on a plane or in space. */
export type Scatter = { readonly title: string; readonly caption: string; readonly kind: "scatter"; readonly unit: string; readonly axes: readonly (string)[]; readonly points: readonly (Point)[]; readonly limits: readonly ([number, number])[] | null; };

/** One line: a value for every mark of the x axis. */
export type Series = { readonly label: string; readonly token: boolean; readonly site: string | null; readonly values: readonly (number | null)[]; };

/** Rows of text and numbers. */
export type Table = { readonly title: string; readonly caption: string; readonly kind: "table"; readonly columns: readonly (Column)[]; readonly rows: readonly (Row)[]; };

/** One token of a text, coloured by its value. */
export type TokenMark = { readonly text: string; readonly id: number | null; readonly value: number | null; };

/** A text as its tokens; `marked` is the index of the one that the result is about. */
export type Tokens = { readonly title: string; readonly caption: string; readonly kind: "tokens"; readonly unit: string; readonly signed: boolean; readonly items: readonly (TokenMark)[]; readonly marked: number | null; };

export type View = Bars | Heatmap | HeadGrid | Tokens | Lines | Scatter | Arcs | Graph | Table;

/** What linked pictures have chosen together: a head, and a token or a pair of tokens that is looked from and at. */
export type Selection = { readonly layer: number | null; readonly head: number | null; readonly query: number | null; readonly key: number | null; };

/** What a run found. */
export type Answer = { readonly title: string; readonly summary: string; readonly views: readonly (Bars | Heatmap | HeadGrid | Tokens | Lines | Scatter | Arcs | Graph | Table)[]; readonly result: Readonly<Record<string, unknown>>; readonly network: Graph | null; readonly type: "result"; readonly run: string; };

/** The tokens of a live run, and of which model it is. */
export type Begun = { readonly type: "tokens"; readonly run: string; readonly model: string; readonly ids: readonly (number)[]; readonly labels: readonly (string)[]; };

/** A live run, or a change of model, is over. */
export type Done = { readonly type: "done"; readonly run: string; };

/** A run, or with no name of one a message, that cannot be answered. */
export type Failed = { readonly type: "error"; readonly run: string | null; readonly error: string; readonly message: string; readonly hint: string; };

/** The first word of the server. */
export type Hello = { readonly type: "hello"; readonly protocol: number; readonly version: string; };

/** How far along a run is; label "queued": how many are ahead of it. */
export type Progress = { readonly type: "progress"; readonly run: string; readonly label: string; readonly done: number; readonly total: number | null; };

/** What a run has found so far, which says itself what is missing; also before it is told as called off. */
export type SoFar = { readonly title: string; readonly summary: string; readonly views: readonly (Bars | Heatmap | HeadGrid | Tokens | Lines | Scatter | Arcs | Graph | Table)[]; readonly result: Readonly<Record<string, unknown>>; readonly network: Graph | null; readonly type: "partial"; readonly run: string; };

/** A run was called off. */
export type Stopped = { readonly type: "cancelled"; readonly run: string; };

export type FromServer = Hello | Begun | Progress | SoFar | Answer | Done | Stopped | Failed;

/** Of each head of a layer: entropy over that of an even look (0 to 1), largest share, norm of what it writes; means over all tokens but the first. */
export type Heads = { readonly entropy: readonly (number | null)[]; readonly concentration: readonly (number | null)[]; readonly value_norm: readonly (number | null)[]; };

/** Header of a binary message: a layer of a live run; its part `pattern` is u8 of 255 sqrt(share). */
export type Layer = { readonly v: 1; readonly type: "layer"; readonly run: string; readonly layer: number; readonly of: number; readonly says: readonly (Said)[] | null; readonly heads: Heads | null; };

/** Header of a binary message: one head's pattern in full, as float32. */
export type Pattern = { readonly v: 1; readonly type: "pattern"; readonly run: string; readonly of: string; readonly layer: number; readonly head: number; };

/** A token that a depth would say. */
export type Said = { readonly id: number; readonly label: string; readonly probability: number; };

export type Frame = Layer | Pattern;

/** A forward pass that is told layer by layer: tokens, layers as binary messages, done. */
export type AskLive = { readonly type: "live"; readonly run: string; readonly prompt: string; readonly beside: string | null; readonly model: string | null; };

/** Another model, one of the choices: progress, then done. */
export type AskModel = { readonly type: "model"; readonly run: string; readonly name: string; };

/** One head's pattern in full, of the live run `of`: a binary message. */
export type AskPattern = { readonly type: "need"; readonly run: string; readonly of: string; readonly layer: number; readonly head: number; };

/** An analysis: progress, and partial where it can tell what it has so far, then its result. */
export type AskRun = { readonly type: "run"; readonly run: string; readonly analysis: string; readonly arguments: Readonly<Record<string, unknown>>; readonly model: string | null; };

/** Calls a run off, which is told as cancelled. */
export type AskStop = { readonly type: "cancel"; readonly run: string; };

export type FromPage = AskLive | AskRun | AskPattern | AskModel | AskStop;

/** An entry of the catalogue; `parameters` is a JSON schema. */
export type Analysis = { readonly name: string; readonly command: string; readonly theme: string; readonly kind: string; readonly headline: string; readonly doc: string; readonly parameters: Readonly<Record<string, unknown>>; };

/** A result in the store; `kept` says when, `size` how many bytes of JSON it has. */
export type KeptRun = { readonly id: string; readonly kept: string; readonly analysis: string | null; readonly kind: string; readonly model: string; readonly summary: string; readonly size: number; };

/** A prompt with a known circuit. */
export type Preset = { readonly id: string; readonly title: string; readonly prompt: string; readonly corrupted: string; readonly answer: string; readonly foil: string; readonly expected: string; readonly known_of: string; };

/** A result with its pictures; `network` is its whole graph where a picture shows a part of it. */
export type Shown = { readonly title: string; readonly summary: string; readonly views: readonly (Bars | Heatmap | HeadGrid | Tokens | Lines | Scatter | Arcs | Graph | Table)[]; readonly result: Readonly<Record<string, unknown>>; readonly network: Graph | null; };

/** A token of the vocabulary. */
export type Token = { readonly id: number; readonly label: string; };

/** What a word names. */
export type Word = { readonly named: readonly (Token)[]; readonly trouble: Readonly<Record<string, unknown>> | null; readonly alike: readonly (Token)[]; };
