/** Coordinators that share a queue, or a disk and nothing else, and people who ask both of them for the same. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import { JobsClient, type SubmitRequest, type SubmitResponse } from "../../proto/index.ts";
import { MODELS, run } from "../e2e/cli-process.ts";
import { STACKED_SIZES } from "../e2e/stacked-recipe.ts";
import { Cli, type StorageFault } from "../support/child-process.ts";
import { inNamespaces } from "../support/namespaces.ts";
import { NatsServer, natsVersions } from "../support/nats-server.ts";
import { ask, MixedRig } from "./mixed-rig.ts";
import { Rig } from "./rig.ts";

const LONG_MS = 240_000;

function submitTo(address: string, request: Partial<SubmitRequest>): Promise<SubmitResponse> {
  const client = new JobsClient(address, credentials.createInsecure());
  onTestFinished(() => client.close());
  return new Promise((resolve, reject) => {
    client.submit(request as SubmitRequest, (error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

describe.each(natsVersions)("two coordinators that share nats-server %s", (version) => {
  async function pair(faults: readonly StorageFault[] = []) {
    const server = await NatsServer.start({ version });
    const rig = new MixedRig();
    const nats = ["--nats", server.url];
    expect((await run(["nats", "init", ...nats])).code).toBe(0);
    const a = await rig.coordinator([...nats, "--state", rig.path("state-a")], { faults });
    const b = await rig.coordinator([...nats, "--state", rig.path("state-b")]);
    const request = {
      ...{ requestId: "r1", name: "", recipe: readFileSync(rig.recipe(), "utf8"), recipeName: "recipe.yml" },
      output: { root: "out", path: "x" },
    };
    return { a, b, request };
  }

  test(
    "one request to both at once, and to either later, is one job; another for its output is refused",
    async () => {
      const { a, b, request } = await pair();
      const answers = await Promise.all([a, b, a, b].map(({ address }) => submitTo(address, request)));
      answers.push(await submitTo(b.address, request));
      expect(new Set(answers.map(({ job }) => job?.jobId)).size).toBe(1);
      const outcomes = await Promise.allSettled(
        [a, b].map(({ address }, k) =>
          submitTo(address, { ...request, requestId: `s${k}`, output: { root: "out", path: `y/${"z/".repeat(k)}w` } }),
        ),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
      const others = await Promise.allSettled(
        [a, b].map(({ address }, k) =>
          submitTo(address, { ...request, requestId: `t${k}`, output: { root: "out", path: "v" } }),
        ),
      );
      expect(others.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      expect(others.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []))[0]).toMatch(
        /job v writes to out:v/,
      );
      expect(await ask(a.address, "list", "--all")).toHaveLength(4);
    },
    LONG_MS,
  );

  test(
    "the one that plans is killed: the same request to the other is one job, within a minute",
    async () => {
      const stuck: StorageFault = { call: "read", path: "one/model\\.safetensors$", do: "hang" };
      const { a, b, request } = await pair([stuck]);
      const first = submitTo(a.address, request).catch(() => undefined);
      const plansHere = () => run(["list", "--all", "--coordinator", a.address, "--json"]);
      await plansHere();
      const second = submitTo(b.address, request);
      await a.cli.killed();
      await first;
      const { job } = await second;
      expect(job?.name).toBe("x");
      expect((await submitTo(b.address, request)).job?.jobId).toBe(job?.jobId);
      expect(await ask(b.address, "list", "--all")).toHaveLength(1);
    },
    LONG_MS,
  );
});

describe("a state directory that containers share", () => {
  const inside = (rig: Rig, kinds: readonly ("pid" | "net")[]) =>
    Cli.start(["coordinator", "--listen", "127.0.0.1:0", "--state", rig.state, ...rig.roots, "--json"], {
      prefix: inNamespaces(kinds),
    });

  test(
    "belongs to one coordinator; one that was killed is succeeded, by one that sees none of its processes",
    async () => {
      const rig = new Rig();
      const first = inside(rig, ["pid"]);
      await first.event("listening");
      for (const kinds of [["pid", "net"], ["pid"]] as const) {
        const other = inside(rig, kinds);
        expect((await other.ended).code).toBe(1);
        expect(other.stderr).toContain("storage/locked");
      }
      const outside = await run(["coordinator", "--listen", "127.0.0.1:0", "--state", rig.state, "--json"]);
      expect(outside.stderr).toContain("storage/locked");
      await first.killed();
      await inside(rig, ["pid"]).event("listening");
    },
    LONG_MS,
  );

  test(
    "an output that containers share belongs to one merge",
    async () => {
      const rig = new Rig();
      const slow: StorageFault = { call: "write", path: "\\.deltaworks/stage/.*safetensors$", do: "slow", ms: 100 };
      const merge = (faults: readonly StorageFault[]) =>
        Cli.start(
          [
            "merge",
            rig.recipe(),
            join(rig.out, "x"),
            "--models-root",
            MODELS,
            "--threads",
            "1",
            "--json",
            ...STACKED_SIZES,
          ],
          {
            prefix: inNamespaces(["pid", "net"]),
            faults,
          },
        );
      const first = merge([slow]);
      await first.event("progress");
      const second = merge([]);
      expect((await second.ended).code).toBe(1);
      expect(second.stderr).toContain("storage/locked");
      await first.killed();
      expect((await merge([]).ended).code).toBe(0);
    },
    LONG_MS,
  );
});
