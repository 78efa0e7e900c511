import { describe, expect, test } from "vitest";
import { buildManifest, type Manifest, manifestText, parseManifest, recordDocuments } from "../../output/index.ts";
import { parseSums, sumsOf, sumsText } from "../../output/records/sums.ts";
import { planDigest } from "../../plan/index.ts";
import { fakePlan, sha256 } from "./fake-output.ts";

function fakeManifest(change: Partial<Parameters<typeof buildManifest>[0]> = {}): Manifest {
  const plan = fakePlan();
  const files = [
    { name: "model.safetensors", sizeBytes: plan.shards[0]!.sizeBytes, sha256: "b".repeat(64) },
    { name: "README.md", sizeBytes: 1, sha256: "c".repeat(64) },
    { name: "additional_chat_templates/tool.jinja", sizeBytes: 0, sha256: "d".repeat(64) },
  ];
  const sliceSha256s = plan.slices.map((_, k) => String(k).padStart(64, "0"));
  return buildManifest({ plan, planDigest: planDigest(plan), toolVersion: "0.0.1", sliceSha256s, files, ...change });
}

/** The manifest's text after a change of its content, with a hash that is right for it. */
function resealed(change: (content: Record<string, unknown>) => void): Buffer {
  const { sha256: _, ...content } = structuredClone(fakeManifest()) as unknown as Record<string, unknown>;
  change(content);
  const canonical = JSON.stringify(sorted(content));
  return Buffer.from(manifestText({ ...content, sha256: sha256(Buffer.from(canonical)) } as unknown as Manifest));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

describe("manifest", () => {
  test("reads back as it was written, whatever the order of the files was", () => {
    const manifest = fakeManifest();
    expect(parseManifest(Buffer.from(manifestText(manifest)))).toEqual(manifest);
    expect(fakeManifest({ files: manifest.files.toReversed() })).toEqual(manifest);
  });

  test("has for every slice its file, range, hash and tensors, which with the headers cover every shard", () => {
    const manifest = fakeManifest();
    const plan = fakePlan();
    const shard = manifest.shards[0]!;
    let end = shard.headerBytes;
    for (const slice of manifest.slices) {
      expect([slice.file, slice.offsetBytes]).toEqual([shard.name, end]);
      end += slice.sizeBytes;
    }
    expect(end).toBe(plan.shards[0]!.sizeBytes);
    expect(manifest.slices[0]!.tensors).toEqual(["a.weight"]);
    expect(manifest.slices.at(-1)!.tensors).toEqual(["layers.1.c.weight", "norm.weight"]);
    expect(manifest.slices.filter(({ tensors }) => tensors[0] === "layers.0.b.weight")).toHaveLength(4);
  });

  test("carries the SHA-256 of the canonical JSON of all its other fields", () => {
    const { sha256: own, ...content } = fakeManifest();
    expect(sha256(Buffer.from(JSON.stringify(sorted(content))))).toBe(own);
  });

  test("has hashes of input files only if they were made", () => {
    expect(manifestText(fakeManifest())).not.toMatch(/"inputs": \[[^\]]*"sha256"/);
    const hashed = fakeManifest({ inputSha256s: [["e".repeat(64)]] });
    expect(hashed.inputs[0]!.files[0]!.sha256).toBe("e".repeat(64));
    expect([sumsOf(hashed).inputsHashed, sumsOf(fakeManifest()).inputsHashed]).toEqual([true, false]);
  });

  test("any flipped bit is found, in the manifest and in SHA256SUMS", () => {
    for (const { name, bytes } of recordDocuments(fakeManifest())) {
      const parse = name === "SHA256SUMS" ? parseSums : parseManifest;
      parse(bytes);
      for (let bit = 0; bit < bytes.length * 8; bit += 1 + (bit % 5)) {
        const damaged = Buffer.from(bytes);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => parse(damaged), `${name} bit ${bit}`).toThrow(/damaged/);
      }
    }
  });

  test("a file cut short or with something after its end is found", () => {
    for (const { name, bytes } of recordDocuments(fakeManifest())) {
      const parse = name === "SHA256SUMS" ? parseSums : parseManifest;
      for (const changed of [
        bytes.subarray(0, -1),
        bytes.subarray(0, 100),
        Buffer.alloc(0),
        Buffer.concat([bytes, Buffer.from("\n")]),
      ]) {
        expect(() => parse(changed)).toThrow(/damaged/);
      }
    }
  });

  test.each([
    [
      "a file outside of the output",
      (m: Manifest) => Object.assign(m.files[0]!, { name: "../outside" }),
      /inside the output/,
    ],
    [
      "a file in the work directory",
      (m: Manifest) => Object.assign(m.files[0]!, { name: ".deltaworks/journal" }),
      /inside the output/,
    ],
    ["no files", (m: Manifest) => Object.assign(m, { files: 3 }), /a list is missing/],
    ["a size that is no size", (m: Manifest) => Object.assign(m.files[0]!, { sizeBytes: -1 }), /no name, size or hash/],
    ["a slice in no file", (m: Manifest) => Object.assign(m.slices[0]!, { file: "other" }), /s000000 is in no file/],
    ["a later format", (m: Manifest) => Object.assign(m, { format: 2 }), /has format 2, this version knows 1/],
  ])("%s is refused though its hash is right", (_, change, message) => {
    const bytes = resealed((content) => void change(content as unknown as Manifest));
    expect(() => parseManifest(bytes)).toThrow(message);
  });
});

describe("SHA256SUMS", () => {
  test("lists every file and the manifest as `sha256sum -c` wants them, itself not", () => {
    const manifest = fakeManifest();
    const text = sumsText(sumsOf(manifest));
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(lines).toEqual([
      `${"c".repeat(64)}  README.md`,
      `${"d".repeat(64)}  additional_chat_templates/tool.jinja`,
      `${sha256(Buffer.from(manifestText(manifest)))}  deltaworks.manifest.json`,
      `${"b".repeat(64)}  model.safetensors`,
    ]);
  });

  test("reads back with all that the manifest needs to be made anew", () => {
    const sums = sumsOf(fakeManifest({ inputSha256s: [["e".repeat(64)]] }));
    expect(parseSums(Buffer.from(sumsText(sums)))).toEqual(sums);
    expect(sums).toMatchObject({ tool: "0.0.1", plan: planDigest(fakePlan()), seed: "0", inputsHashed: true });
    expect(sums.options).toEqual(fakePlan().options);
  });
});
