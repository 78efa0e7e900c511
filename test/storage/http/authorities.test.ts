import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { readAuthorities } from "../../../storage/http/authorities.ts";
import { FileStore, openStores, placeOf } from "../../../storage/index.ts";
import { rangeServer } from "../../support/range-server.ts";
import { serverCertificate } from "../../support/server-certificate.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

afterEach(() => vi.unstubAllEnvs());

test.each(["AWS_CA_BUNDLE", "SSL_CERT_FILE"])("authorities that %s names vouch for servers", async (name) => {
  const { ca, ...own } = await serverCertificate();
  const server = await rangeServer(own);
  server.put("/model", "weights");
  const place = placeOf(`${server.origin}/model`);
  await expect(openStores().open(place)).rejects.toMatchObject({ code: "storage/network", retryable: false });
  const path = join(temporaryFolder(), "own.pem");
  writeFileSync(path, ca);
  vi.stubEnv(name, path);
  const file = await openStores().open(place);
  const into = new Uint8Array(7);
  await file.read(0, into);
  expect(Buffer.from(into).toString()).toBe("weights");
});

test("those of Node's own variable are not lost beside others; none are named: none are read", async () => {
  const folder = temporaryFolder();
  const { ca } = await serverCertificate();
  const [one, two] = [join(folder, "one.pem"), join(folder, "two.pem")];
  writeFileSync(one, ca);
  writeFileSync(two, `# the company's\n${ca}`);
  const files = new FileStore();
  expect(await readAuthorities(files, { NODE_EXTRA_CA_CERTS: two, AWS_CA_BUNDLE: "" })).toBeUndefined();
  const all = await readAuthorities(files, { NODE_EXTRA_CA_CERTS: two, AWS_CA_BUNDLE: one });
  expect(all).toContain("# the company's");
  expect(all?.startsWith(ca)).toBe(true);
  const often = await readAuthorities(files, { NODE_EXTRA_CA_CERTS: one, AWS_CA_BUNDLE: one, SSL_CERT_FILE: one });
  expect(often).toBe(ca);
});

test.each([
  ["is not there", undefined],
  ["holds no certificate", "-----BEGIN PRIVATE KEY-----\n"],
  ["holds something that is none", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
])("a file of authorities that %s is refused, with the variable", async (_, text) => {
  const path = join(temporaryFolder(), "own.pem");
  if (text !== undefined) writeFileSync(path, text);
  await expect(readAuthorities(new FileStore(), { AWS_CA_BUNDLE: path })).rejects.toMatchObject({
    code: "storage/authorities",
    message: expect.stringMatching(/own\.pem, which AWS_CA_BUNDLE names/),
  });
});
