/** Jobs of a cluster whose models lie in a bucket, against a real S3 server. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { placeOf } from "../../storage/index.ts";
import { hashesButOfNames, MODELS, run, start } from "../e2e/cli-process.ts";
import { contentsOf } from "../output/fake-output.ts";
import { Cli } from "../support/child-process.ts";
import { S3Server, s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { objectsBelow } from "./objects-below.ts";
import { Rig } from "./rig.ts";

const NAMES = ["tiny-base", "tiny-python", "tiny-prose"];
const MERGE = ["--cut-embeddings"];

/** A bucket of models, and a cluster that knows it as the place `models`. */
class BucketRig extends Rig {
  readonly server: S3Server;
  readonly environment: Readonly<Record<string, string>>;

  private constructor(server: S3Server) {
    super();
    this.server = server;
    this.environment = {
      AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
      AWS_ENDPOINT_URL_S3: server.endpoint,
    };
  }

  static async begin(): Promise<BucketRig> {
    const server = await S3Server.start();
    await server.makeBucket("models");
    for (const name of NAMES)
      for (const file of readdirSync(join(MODELS, name)))
        await server.put(`models/all+1/${name}/${file}`, readFileSync(join(MODELS, name, file)));
    return new BucketRig(server);
  }

  readonly place = ["--place", "models=s3://models/all%2B1:ro"];

  override readonly roots = [...this.place, "--root", `out=${this.out}`];

  begun(args: readonly string[] = []) {
    return this.coordinator(args, { environment: this.environment });
  }

  /** With keys of its own. */
  keyed(address: string, name: string): Cli {
    return this.worker(address, name, [], { environment: this.environment });
  }

  tiesOf(at: (name: string) => string): string {
    const path = this.path("ties.yml");
    const [base = "", ...others] = NAMES.map(at);
    const models = others.map((model) => `  - {model: "${model}", parameters: {weight: 0.5, density: 0.5}}\n`).join("");
    writeFileSync(path, `merge_method: ties\nbase_model: "${base}"\nmodels:\n${models}dtype: bfloat16\n`);
    return path;
  }

  async submitted(address: string, recipe: string, out: string) {
    const submit = Cli.start(["submit", recipe, out, "--coordinator", address, "--json", ...MERGE]);
    await submit.ended;
    return submit;
  }

  async expectedFiles(): Promise<Record<string, string>> {
    await this.expected();
    return butForRecords(contentsOf(this.path("here")));
  }

  /** The same merge on one machine, of the files that were put into the bucket. */
  async expected(): Promise<Record<string, string>> {
    const out = this.path("here");
    const { code, stderr } = await run(["merge", this.tiesOf((name) => join(MODELS, name)), out, ...MERGE]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return hashesButOfNames(out);
  }
}

test("models in a bucket are merged by workers that have keys of their own, named by place and by address", async () => {
  const rig = await BucketRig.begin();
  const { address, cli } = await rig.begun();
  for (const name of ["a", "b"]) rig.keyed(address, name);
  const byPlace = await rig.submitted(
    address,
    rig.tiesOf((name) => `models:${name}`),
    "out:by-place",
  );
  expect(byPlace.end?.code, byPlace.stderr + cli.stderr).toBe(0);
  const byAddress = await rig.submitted(
    address,
    rig.tiesOf((name) => `s3://models/all%2B1/${name}`),
    "out:by-address",
  );
  expect(byAddress.end?.code, byAddress.stderr).toBe(0);
  const expected = await rig.expected();
  for (const out of ["by-place", "by-address"]) expect(hashesButOfNames(join(rig.out, out))).toEqual(expected);
});

/** What a signed address holds, and no other text of ours. */
const SIGNED = /X-Amz-(Signature|Credential)/i;

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [join(entry.parentPath, entry.name)] : [],
  );
}

/** But for what tells how models were named, and which slices there were. */
function butForRecords(hashes: Record<string, string>) {
  const others = ["SHA256SUMS", "deltaworks.manifest.json", "README.md", "mergekit_config.yml"];
  return Object.fromEntries(Object.entries(hashes).filter(([name]) => !others.includes(name)));
}

test.each(["keys", "signed addresses", "neither"])(
  "an output in a bucket is that of a merge on one machine: workers with %s",
  async (how) => {
    const rig = await BucketRig.begin();
    await rig.server.makeBucket("out");
    const out = ["--place", "out=s3://out/merged"];
    const { address, cli } = await rig.coordinator(["--log-level", "trace"], { environment: rig.environment }, [
      ...rig.place,
      ...out,
    ]);
    const workers = ["a", "b"].map((name) =>
      how === "keys"
        ? Cli.start(
            ["worker", "--coordinator", address, "--name", name, "--threads", "1", "--json", ...rig.place, ...out],
            {
              environment: rig.environment,
            },
          )
        : rig.bareWorker(address, name, [
            "--log-level",
            "trace",
            ...(how === "neither" ? ["--through-coordinator"] : ["--bandwidth", "200MB"]),
          ]),
    );
    const recipe = rig.tiesOf((name) => `models:${name}`);
    const submit = await rig.submitted(address, recipe, "out:x/y");
    expect(
      submit.end?.code,
      submit.stderr + submit.stdout + cli.stderr + workers.map(({ stderr }) => stderr).join("\n"),
    ).toBe(0);
    const objects = s3ObjectsOf(rig.server.endpoint);
    const found = await objectsBelow(objects, placeOf("s3://out/merged/x/y"));
    expect(Object.keys(found)).toContain("SHA256SUMS");
    expect(butForRecords(found)).toEqual(await rig.expectedFiles());
    expect(await objects.listUploads(placeOf("s3://out"))).toEqual([]);
    const verified = await start(["verify", "s3://out/merged/x/y"], { environment: rig.environment }).ended;
    expect(verified.code, verified.stderr).toBe(0);
    const events = await run(["events", "y", "--coordinator", address, "--json"]);
    expect(events.stdout).toContain("published");
    const said = [cli, submit, ...workers].map(({ stdout, stderr }) => stdout + stderr);
    const kept = filesBelow(rig.state).map((path) => readFileSync(path, "latin1"));
    for (const text of [...said, ...kept, events.stdout]) {
      expect(text).not.toMatch(SIGNED);
      expect(text).not.toContain(s3Keys.secretAccessKey);
    }
    expect(
      kept.some((text) => text.includes('"subject"')),
      "a journal",
    ).toBe(true);
  },
);

test("workers without keys and roots read by addresses that are signed for them, which stand in nothing that is kept or said", async () => {
  const rig = await BucketRig.begin();
  const { cli, address } = await rig.begun(["--log-level", "trace"]);
  const through = await TcpProxy.listen({ port: Number(address.split(":")[1]) });
  const workers = ["a", "b"].map((name) => rig.bareWorker(`127.0.0.1:${through.port}`, name, ["--log-level", "trace"]));
  const submit = await rig.submitted(
    address,
    rig.tiesOf((name) => `models:${name}`),
    "out:signed",
  );
  expect(submit.end?.code, submit.stderr + cli.stderr).toBe(0);
  expect(hashesButOfNames(join(rig.out, "signed"))).toEqual(await rig.expected());
  // The models did not pass through the coordinator: what they have is more than all that it sent.
  const weights = NAMES.flatMap((name) => filesBelow(join(MODELS, name))).filter((path) =>
    path.endsWith(".safetensors"),
  );
  const modelBytes = weights.reduce((sum, path) => sum + statSync(path).size, 0);
  expect(through.passed("down")).toBeLessThan(modelBytes / 4);
  const status = await run(["status", "signed", "--coordinator", address, "--json"]);
  const events = await run(["events", "signed", "--coordinator", address, "--json"]);
  const said = [cli, submit, ...workers].map(({ stdout, stderr }) => stdout + stderr);
  const kept = [rig.state, rig.out].flatMap(filesBelow).map((path) => readFileSync(path, "latin1"));
  for (const text of [...said, status.stdout, events.stdout, ...kept]) {
    expect(text).not.toMatch(SIGNED);
    expect(text).not.toContain(s3Keys.secretAccessKey);
  }
});

test("a worker that has some of a job's roots reads the rest by what is signed; what nobody signs for comes through the coordinator", async () => {
  const rig = await BucketRig.begin();
  const { address } = await rig.coordinator([], { environment: rig.environment }, [
    ...[...rig.roots, "--root", `here=${MODELS}`],
  ]);
  const recipe = rig.tiesOf((name) => (name === "tiny-base" ? `here:${name}` : `models:${name}`));
  const first = rig.bareWorker(address, "a", ["--root", `here=${MODELS}:ro`]);
  const mixed = await rig.submitted(address, recipe, "out:mixed");
  expect(mixed.end?.code, mixed.stderr).toBe(0);
  expect(hashesButOfNames(join(rig.out, "mixed"))).toEqual(await rig.expected());
  await first.killed();
  const other = Cli.start(["worker", "--coordinator", address, "--name", "b", "--threads", "1", "--json"]);
  const none = await rig.submitted(address, recipe, "out:none");
  expect(none.end?.code, none.stderr + other.stderr).toBe(0);
  expect(hashesButOfNames(join(rig.out, "none"))).toEqual(await rig.expected());
});

test("a recipe reads from no other bucket, and no other prefix; a job writes to no place that is only read", async () => {
  const rig = await BucketRig.begin();
  await rig.server.makeBucket("secret");
  const { address } = await rig.begun();
  for (const base of [
    "s3://secret",
    "s3://models/all",
    "s3://models/all%2B1/../other",
    "hf://owner",
    "https://127.0.0.1",
  ]) {
    const submit = await rig.submitted(
      address,
      rig.tiesOf((name) => `${base}/${name}`),
      "out:x",
    );
    expect(submit.end?.code, base).not.toBe(0);
    expect(submit.stderr, base).toMatch(/service\/outside-roots/);
  }
  const refused = await rig.submitted(
    address,
    rig.tiesOf((name) => `s3://models/all%2B1/${name}?sig=canary`),
    "out:x",
  );
  expect(refused.stderr).toMatch(/is no address/);
  expect(refused.stderr).not.toContain("canary");
  const written = await rig.submitted(
    address,
    rig.tiesOf((name) => `models:${name}`),
    "models:x",
  );
  expect(written.stderr).toMatch(/service\/root/);
});

test.each(["keys", "signed addresses"])(
  "an object that was replaced since the job was planned ends it, and is named: %s",
  async (how) => {
    const rig = await BucketRig.begin();
    const { address } = await rig.begun();
    const submit = Cli.start([
      ...["submit", rig.tiesOf((name) => `models:${name}`), "out:x", "--coordinator", address, "--json", ...MERGE],
    ]);
    await submit.event("submitted");
    const model = readFileSync(join(MODELS, "tiny-prose", "model.safetensors"));
    model[model.length - 1] = (model.at(-1) ?? 0) ^ 1;
    await rig.server.put("models/all+1/tiny-prose/model.safetensors", model);
    for (const name of ["a", "b", "c"]) how === "keys" ? rig.keyed(address, name) : rig.bareWorker(address, name);
    await submit.ended;
    expect(submit.end?.code).not.toBe(0);
    expect(submit.stdout).toMatch(
      /s3:\/\/models\/all\+1\/tiny-prose\/model\.safetensors(: it is another one| has version)/,
    );
  },
);

test("places are looked at when a coordinator and a worker begin", async () => {
  const rig = await BucketRig.begin();
  const begin = (...args: string[]) => Cli.start(args, { environment: rig.environment });
  const coordinator = ["coordinator", "--listen", "127.0.0.1:0", "--state", rig.state];
  const worker = ["worker", "--coordinator", "127.0.0.1:1", "--name", "w"];
  for (const command of [coordinator, worker]) {
    for (const [place, said] of [
      ["a=s3://nowhere/x", /storage\/not-found.*s3:\/\/nowhere is not there/s],
      ["a=s3://models/all%2B1/tiny-base/config.json", /storage\/not-a-directory/],
      ["a=https://user:canary@host/x", /NAME=s3:\/\/bucket\/prefix/],
    ] as const) {
      const cli = begin(...command, "--place", place);
      expect((await cli.ended).code).not.toBe(0);
      expect(cli.stderr).toMatch(said);
      expect(cli.stderr).not.toContain("canary");
    }
    const cli = begin(...command, "--root", "a=s3://models/all%2B1");
    await cli.ended;
    expect(cli.stderr).toMatch(/a bucket is given with --place/);
  }
});
