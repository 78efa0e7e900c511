// npm run bench:storage [-- --runs N --set short --merges-only --write-docs]: ranges by our client, by its connections alone and by undici, plain and over TLS, in turns;
// then a ties merge of a base and 5 fine-tunes of 336 M parameters where each request takes 30 ms to its first byte and a connection brings 90 MB/s,
// against the same merge of files, in pairs. Processor time is that of the reading process alone. --set short: 111 M parameters, a quick try.
// docs/performance.md says more.
import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAuthority, issue } from "../dist/trust/index.js";
import { makeCheckpoints, modelBytes, modelName, setFolder, weightsPath } from "./checkpoints.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { measure, median, settleDisk, warm } from "./measure.mjs";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    set: { type: "string", default: "first" },
    "merges-only": { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
  },
});
const set = options.set;
const runs = Number(options.runs);
const FIRST_BYTE_MS = 30;
const BYTES_A_SECOND = 90_000_000;
const folder = join(benchFolder, "storage");
const fineTunes = 5;
const script = (name) => join(repositoryRoot, "bench", name);

mkdirSync(folder, { recursive: true });
await makeCheckpoints(set, fineTunes);
warm(Array.from({ length: fineTunes + 1 }, (_, k) => weightsPath(set, k)));
const certificate = await writeCertificate();

async function writeCertificate() {
  const nowMs = Date.now();
  const authority = await createAuthority(nowMs);
  const identity = { role: "coordinator", name: "server" };
  const { chain, key } = await issue(authority, identity, { nowMs, ttlMs: 86_400_000, hosts: ["127.0.0.1"] });
  const paths = { key: join(folder, "key.pem"), cert: join(folder, "cert.pem"), ca: join(folder, "ca.pem") };
  for (const [name, text] of Object.entries({ key: key.reveal(), cert: chain, ca: authority.certificate }))
    writeFileSync(paths[name], text);
  return paths;
}

/** Calls `use` with the address of a server of the checkpoints. */
async function served(isSecure, firstByteMs, bytesPerSecond, use) {
  const secure = isSecure ? [certificate.key, certificate.cert] : [];
  const server = spawn(
    process.execPath,
    [script("storage-server.mjs"), setFolder(set), `${firstByteMs}`, `${bytesPerSecond}`, ...secure],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const port = await new Promise((resolve) => server.stdout.once("data", (text) => resolve(Number(text))));
    return await use(`${isSecure ? "https" : "http"}://127.0.0.1:${port}`);
  } finally {
    server.kill();
  }
}

async function rangesBy(way, isSecure) {
  return served(isSecure, 0, 0, async (origin) => {
    const address = `${origin}/base/model.safetensors`;
    const ca = isSecure ? [certificate.ca] : [];
    const args = [script("storage-client.mjs"), way, address, `${modelBytes(set)}`, ...ca];
    const { stdout } = await measure(process.execPath, args);
    const { gigabytes, processorSeconds } = JSON.parse(stdout);
    return (gigabytes * 1000) / processorSeconds;
  });
}

async function mergeFrom(at, environment = {}) {
  const model = (k) => JSON.stringify(`${at}/${modelName(k)}${at.includes("://") ? "/" : ""}`);
  const tuned = Array.from({ length: fineTunes }, (_, k) => {
    return `  - {model: ${model(k + 1)}, parameters: {weight: 0.3, density: 0.5}}\n`;
  });
  const recipe = join(folder, "recipe.yml");
  writeFileSync(recipe, `merge_method: ties\nbase_model: ${model(0)}\ndtype: bfloat16\nmodels:\n${tuned.join("")}`);
  const out = join(folder, "out");
  settleDisk(out);
  const main = join(repositoryRoot, "dist/cli/main.js");
  const args = [script("peak.mjs"), main, "merge", recipe, out, "--threads", "2", "--quiet"];
  // Authorities that this machine's environment adds are no part of what is measured.
  const { AWS_CA_BUNDLE, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, ...plain } = process.env;
  const measured = await measure(process.execPath, args, { env: { ...plain, ...environment } });
  rmSync(out, { recursive: true, force: true });
  return measured;
}

const ways = ["connection", "ours", "undici"];
const rates = { plain: { connection: [], ours: [], undici: [] }, TLS: { connection: [], ours: [], undici: [] } };
const merges = { files: [], plain: [], TLS: [] };
for (let run = 0; run < runs; run++) {
  for (const kind of options["merges-only"] ? [] : ["plain", "TLS"])
    for (const way of ways) rates[kind][way].push(await rangesBy(way, kind === "TLS"));
  merges.files.push(await mergeFrom(setFolder(set)));
  for (const kind of ["plain", "TLS"]) {
    const trusted = kind === "TLS" ? { SSL_CERT_FILE: certificate.ca } : {};
    merges[kind].push(
      await served(kind === "TLS", FIRST_BYTE_MS, BYTES_A_SECOND, (origin) => mergeFrom(origin, trusted)),
    );
  }
  process.stderr.write(`run ${run + 1} of ${runs}\n`);
}

const whole = (value) => `${Math.round(value)}`;
const factor = (value) => value.toFixed(2);
const readTable = markdownTable(
  [
    "8 MiB ranges, 8 at once",
    "connections alone, MB/s a core",
    "our client",
    "undici",
    "ours / alone",
    "ours / undici",
  ],
  Object.entries(options["merges-only"] ? {} : rates).map(([kind, found]) => {
    const [alone, ours, undici] = ways.map((way) => median(found[way]));
    return [kind, whole(alone), whole(ours), whole(undici), factor(ours / alone), factor(ours / undici)];
  }),
);
/** In each run by itself, and of these the middle one. */
const paired = (kind, ratio) => median(merges[kind].map((found, run) => ratio(found, merges.files[run])));
const bytesSeconds = ((fineTunes + 1) * modelBytes(set)) / 1e9;
const mergeTable = markdownTable(
  [
    `ties, ${fineTunes + 1} models of ${(modelBytes(set) / 2e6).toFixed(0)} M parameters`,
    "processor, s",
    "of that of files",
    "seconds",
    "of files' seconds, or bytes by 1 GB/s",
    "peak, MB",
  ],
  Object.entries(merges).map(([kind, found]) => [
    kind === "files" ? "files" : `${kind}, 30 ms to the first byte, 90 MB/s a connection`,
    median(found.map(({ processorSeconds }) => processorSeconds)).toFixed(1),
    factor(paired(kind, (far, files) => far.processorSeconds / files.processorSeconds)),
    median(found.map(({ seconds }) => seconds)).toFixed(1),
    factor(paired(kind, (far, files) => far.seconds / Math.max(files.seconds, bytesSeconds))),
    whole(median(found.map(({ peakBytes }) => peakBytes)) / 1e6),
  ]),
);
const tables = options["merges-only"] ? [mergeTable] : [readTable, mergeTable];
const report = `${tables.join("\n\n")}\n\n${machineLine()}; ${runs === 1 ? "one run" : `medians of ${runs} runs`}.`;
process.stdout.write(`${report}\n`);
if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs/performance.md"), "storage", report);
