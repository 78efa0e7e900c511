import { inspect } from "node:util";
import { pino } from "pino";
import { expect, test } from "vitest";
import { redact, Secret } from "../../trust/index.ts";

const CANARY = "canary-5f1d";

test("a secret prints as nothing, however it is printed; reveal gives it", () => {
  const secret = new Secret(CANARY);
  const printed = [
    `${secret}`,
    String(secret),
    ["joined", secret].join(),
    JSON.stringify({ secret, list: [secret] }),
    inspect(secret, { showHidden: true, depth: 9, customInspect: false }),
    inspect({ deep: { secret } }),
    Object.entries(secret).join(),
    new Error(`failed with ${secret}`).stack,
    inspect(structuredClone({ ...secret })),
  ];
  for (const text of printed) expect(text).not.toContain(CANARY);
  expect(printed[0]).toBe("[secret]");
  expect(secret.reveal()).toBe(CANARY);
});

test("a log with `redact` shows no secret, up to two levels below what is logged", () => {
  const lines: string[] = [];
  const log = pino({ redact }, { write: (line: string) => void lines.push(line) });
  const names = [
    "key",
    "privateKey",
    "token",
    "password",
    "pass",
    "creds",
    "credentials",
    "seed",
    "jwt",
    "authorization",
  ];
  for (const name of names) {
    log.info({ [name]: CANARY }, "top");
    log.info({ nats: { [name]: CANARY } }, "one below");
    log.info({ options: { nats: { [name]: CANARY } } }, "two below");
    log.info({ error: { headers: { [name]: CANARY }, message: "kept" } });
    log.child({ nats: { [name]: CANARY } }).info("bound to a child");
  }
  log.info({ secret: new Secret(CANARY) });
  expect(lines).toHaveLength(names.length * 5 + 1);
  expect(lines.filter((line) => line.includes(CANARY))).toEqual([]);
  expect(lines.filter((line) => line.includes("[secret]"))).toHaveLength(lines.length);
  expect(lines[3]).toContain('"message":"kept"');
});
