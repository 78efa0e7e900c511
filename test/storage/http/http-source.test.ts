import { expect, onTestFinished, test } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { HttpSource } from "../../../storage/http/http-source.ts";
import { join, type Place, placeOf, readWhole } from "../../../storage/index.ts";
import { giveFile, type RangeServer, rangeServer, refuse } from "../../support/range-server.ts";
import { bytesOf, sourceContract, textOf } from "../source.contract.ts";

/** The path of a place, as it is asked for. */
const pathOf = (place: Place) =>
  place
    .replace(/^https?:\/\/[^/]*/, "")
    .split("/")
    .map(encodeURIComponent)
    .join("/");

async function begin() {
  const server = await rangeServer();
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {} });
  onTestFinished(() => ranges.close());
  return { server, source: new HttpSource(ranges), folder: placeOf(`${server.origin}/own`) };
}

sourceContract("a web server", async () => {
  const { server, source, folder } = await begin();
  return {
    source,
    folder,
    isListed: false,
    hasLinks: false,
    put: async (place, bytes) => server.put(pathOf(place), bytes),
  };
});

sourceContract("a web server that knows the time of the last change alone", async () => {
  const { server, source, folder } = await begin();
  let seconds = 0;
  const put = async (place: Place, bytes: Uint8Array) => {
    const lastModified = new Date(1_700_000_000_000 + 1000 * seconds++).toUTCString();
    server.files.set(pathOf(place), { bytes, lastModified });
  };
  return { source, folder, isListed: false, hasLinks: false, put };
});

function putModel(server: RangeServer, names: readonly string[]): void {
  for (const name of names) server.put(`/own/${name}`, "{}");
}

const namesIn = async (source: HttpSource, folder: Place) => (await source.list(folder)).map(({ name }) => name);

test("a folder holds what its index and its SHA256SUMS name, as far as it is there", async () => {
  const { server, source, folder } = await begin();
  const shards = ["model-1-of-2.safetensors", "model-2-of-2.safetensors"];
  const map = Object.fromEntries([...shards, "gone.safetensors", "../up"].map((name, k) => [`${k}`, name]));
  putModel(server, ["config.json", ...shards, "own_special.json", "unnamed.json"]);
  server.put("/own/model.safetensors.index.json", JSON.stringify({ weight_map: map }));
  server.put(
    "/own/SHA256SUMS",
    ["own_special.json", "sub/a.json"].map((name) => `${"0".repeat(64)}  ${name}\n`).join(""),
  );
  expect(await namesIn(source, folder)).toEqual(
    ["SHA256SUMS", "config.json", "model.safetensors.index.json", ...shards, "own_special.json"].sort(),
  );
});

test("a server that has a page for whatever it is asked has no model", async () => {
  const { server, source, folder } = await begin();
  server.faults.push((_, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html></html>");
    return true;
  });
  await expect(source.list(folder)).rejects.toMatchObject({ code: "storage/not-found" });
});

test("what may not be looked at, or is out of order, is no folder without files", async () => {
  const { server, source, folder } = await begin();
  putModel(server, ["config.json"]);
  server.faults.push(
    (asked, response) => asked.path.endsWith("tokenizer.json") && refuse(403)(asked, response, undefined),
  );
  await expect(source.list(folder)).rejects.toMatchObject({ code: "storage/denied" });
});

test("a small file is opened and read in one request, a header that is longer in two", async () => {
  const { server, source, folder } = await begin();
  server.put("/own/a", "0123456789");
  expect(textOf(await readWhole(source, join(folder, "a"), 100))).toBe("0123456789");
  expect(server.asked.splice(0)).toHaveLength(1);
  const file = await source.open(join(folder, "a"), { firstBytes: 4 });
  const into = new Uint8Array(8);
  await file.read(1, into);
  expect(textOf(into)).toBe("12345678");
  expect(server.asked.map(({ range }) => range)).toEqual(["bytes=0-3", "bytes=4-8"]);
});

test("of a server without ranges small files are read, and of large ones it is said", async () => {
  const { server, source, folder } = await begin();
  server.faults.push((asked, response, held) => {
    giveFile({ ...asked, range: undefined }, response, held);
    return true;
  });
  server.put("/own/a", "0123456789");
  expect(textOf(await readWhole(source, join(folder, "a"), 100))).toBe("0123456789");
  expect(server.asked).toHaveLength(1);
  server.put("/own/large", new Uint8Array(33 * 2 ** 20));
  const file = await source.open(join(folder, "large"), { firstBytes: 10 });
  await file.read(0, new Uint8Array(10));
  await expect(file.read(5, new Uint8Array(10))).rejects.toMatchObject({
    code: "storage/no-ranges",
    message: expect.stringContaining("/own/large"),
  });
});

test.each([
  ["http://8.8.8.8/model", "storage/denied"],
  ["http://169.254.169.254/latest", "storage/denied"],
  ["https://169.254.169.254/latest", "storage/denied"],
  ["https://me:canary@models.test/a", "storage/not-found"],
  ["https://models.test/a/../b", "storage/not-found"],
])("%s is not asked for anything", async (text, code) => {
  const { source } = await begin();
  const error = await source.open(placeOf(text)).catch((error: unknown) => error);
  expect(error).toMatchObject({ code });
  expect((error as Error).message).not.toContain("canary");
});

test("bytes are those of the file whatever a place's path holds", async () => {
  const { server, source, folder } = await begin();
  server.put("/own/a%2520b/%23%3F", bytesOf("x"));
  expect(textOf(await readWhole(source, join(folder, "a%20b", "#?"), 10))).toBe("x");
});
