// Bundles the page, the widget of notebooks and what files carry; the folder may be named, for tests. Panels further down the
// page are parts, fetched when they are near; a saved run has them inside.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";

const out = process.argv[2] ?? new URL("../src/fluoroscope/server/static", import.meta.url).pathname;
const shared = {
  bundle: true, minify: true, target: "es2022", jsx: "automatic", jsxImportSource: "preact", legalComments: "linked",
  logLevel: "warning",
};

/** A bundle as one script and one sheet of styles, in memory. */
async function parts(entry, format) {
  const { outputFiles } = await build({ ...shared, entryPoints: [entry], format, legalComments: "none", outdir: "none", write: false });
  const [script, styles] = ["js", "css"].map((kind) => outputFiles.find(({ path }) => path.endsWith(kind)).text.trim());
  return { script, styles };
}

/** A script that brings its styles with it, for a root of its own. */
async function alone(entry, format) {
  const { script, styles } = await parts(entry, format);
  return script.replaceAll(/\bRULES\b/g, () => JSON.stringify(styles)) + "\n";
}

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The page of a saved run, which holds everything but the run. */
async function runPage() {
  const { script, styles } = await parts("src/main.tsx", "iife");
  if (/<!--|<\/script/i.test(script) || /<\//.test(styles)) throw new Error("the bundle cannot stand in a page");
  const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(styles)}; img-src data: blob:; base-uri 'none'; form-action 'none'`;
  return (await readFile("src/run.html", "utf8"))
    .replace('content=""', () => `content="${policy}"`)
    .replace("<style></style>", () => `<style>${styles}</style>`)
    .replace("<script></script>", () => `<script>${script}</script>`);
}

/** What is fetched late leans on the whole first page. That one is then a single part; without this it is cut wherever some
    late part uses less than another, into twenty that weigh an eighth more together. */
async function leaning() {
  const sources = (await readdir("src", { recursive: true })).filter((name) => /\.tsx?$/.test(name)).map((name) => resolve("src", name));
  const late = new Set();
  for (const name of sources) for (const [, to] of (await readFile(name, "utf8")).matchAll(/\bimport\("(\.[^"]+)"\)/g)) late.add(resolve(dirname(name), to));
  return {
    name: "leaning",
    setup({ onLoad }) {
      onLoad({ filter: /\.tsx?$/ }, async ({ path }) => {
        const kind = extname(path);
        if (!late.has(path.slice(0, -kind.length))) return undefined;
        return { contents: `${await readFile(path, "utf8")}\nimport ${JSON.stringify(resolve("src/main.tsx"))};`, loader: kind.slice(1) };
      });
    },
  };
}

await mkdir(out, { recursive: true });
await rm(`${out}/parts`, { recursive: true, force: true });
await build({ ...shared, entryPoints: { lab: "src/main.tsx" }, outdir: out, format: "esm", splitting: true, plugins: [await leaning()], chunkNames: "parts/[name]-[hash]" });
for (const name of await readdir(`${out}/parts`)) if (name.endsWith(".css")) await rm(`${out}/parts/${name}`); // lab.css has all of it
await copyFile("src/index.html", `${out}/index.html`);
await writeFile(`${out}/widget.js`, await alone("src/widget/widget.ts", "esm"));
await writeFile(`${out}/file.js`, await alone("src/widget/file.ts", "iife"));
await writeFile(`${out}/run.html`, await runPage());
