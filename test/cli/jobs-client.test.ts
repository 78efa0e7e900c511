/** Commands that ask a coordinator which is not there yet, or goes away as it answers. */

import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import { CallFailure, JobsConnection } from "../../cli/jobs-client.ts";
import { JobState, type JobsServer, JobsService, type SubmitRequest } from "../../proto/index.ts";
import { FileStore } from "../../storage/index.ts";
import { Rig } from "../cluster/rig.ts";
import { Cli } from "../support/child-process.ts";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const JOB = { jobId: "1", name: "a", priority: 2, state: JobState.JOB_STATE_QUEUED, slices: 0, slicesDone: 0 };

/** Answers as `answer` says, by how often it was asked. */
async function serve(port: number, answer: (request: SubmitRequest) => "lost" | "refused" | "taken"): Promise<void> {
  const server = new Server();
  const submit: JobsServer["submit"] = (call, callback) => {
    const said = answer(call.request);
    const nothing = { cause: undefined, output: undefined, stalled: undefined, coordinator: "", submitter: "" };
    const job = { ...JOB, ...nothing, planSha256: Buffer.alloc(0), phase: "" };
    const counts = { bytesRead: 0n, bytesWritten: 0n, submittedAtMs: 0n, endedAtMs: 0n, counters: {}, warnings: [] };
    if (said === "taken") callback(null, { job: { ...job, ...counts }, warnings: [] });
    else callback({ code: said === "lost" ? status.UNAVAILABLE : status.FAILED_PRECONDITION, details: said });
  };
  server.addService(JobsService, { submit } as unknown as JobsServer as never);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    ),
  );
  onTestFinished(() => server.forceShutdown());
}

async function connect(port: number, connectTimeout: number): Promise<JobsConnection> {
  const trust = { cert: undefined, key: undefined, ca: undefined, insecure: false };
  const options = { ...trust, coordinator: `127.0.0.1:${port}`, connectTimeout, json: false };
  const connection = await JobsConnection.open(new FileStore(), options as never);
  onTestFinished(() => connection.close());
  return connection;
}

const request = { requestId: "r1", name: "", recipe: "", recipeName: "", output: undefined, options: undefined };

function submit(connection: JobsConnection, waits: (why: string) => void = () => {}) {
  return connection.call((client) => client.submit, request as unknown as SubmitRequest, { waits });
}

async function failureOf(call: Promise<unknown>): Promise<CallFailure> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof CallFailure) return error;
  throw new Error(`no CallFailure: ${error}`);
}

describe("a call", () => {
  test("waits for a coordinator that is not there yet, and is told why", async () => {
    const port = await freePort();
    const why: string[] = [];
    const answered = submit(await connect(port, 60_000), (text) => void why.push(text));
    while (why.length < 2) await delay(10);
    await serve(port, () => "taken");
    expect((await answered).job?.name).toBe("a");
    expect(why[0]).toContain(`127.0.0.1:${port}`);
    expect(why[0]).not.toContain("tried");
  });

  test("whose answers are lost is repeated as it was", async () => {
    const port = await freePort();
    const asked: string[] = [];
    await serve(port, ({ requestId }) => (asked.push(requestId) < 3 ? "lost" : "taken"));
    await submit(await connect(port, 60_000));
    expect(asked).toEqual(["r1", "r1", "r1"]);
  });

  test("that is refused is made once", async () => {
    const port = await freePort();
    let asked = 0;
    await serve(port, () => {
      asked++;
      return "refused";
    });
    const failure = await failureOf(submit(await connect(port, 60_000)));
    expect([asked, failure.retryable]).toEqual([1, false]);
  });

  test("says at the end of its patience what was tried", async () => {
    const failure = await failureOf(submit(await connect(await freePort(), 300)));
    expect(failure).toMatchObject({ code: "wire/disconnected", retryable: true });
    expect(failure.message).toMatch(/; tried \d+ times in \d+ s \(--connect-timeout\)$/);
  });

  test("without patience is made once", async () => {
    const waits: string[] = [];
    const failure = await failureOf(submit(await connect(await freePort(), 0), (why) => void waits.push(why)));
    expect([waits, failure.message.includes("tried")]).toEqual([[], false]);
  });
});

test("submit is given before its coordinator is started: the job is merged", async () => {
  const rig = new Rig();
  const address = `127.0.0.1:${await freePort()}`;
  const job = Cli.start(["submit", rig.recipe(), "out:a", "--coordinator", address, "--connect-timeout", "60s"]);
  await job.until(() => job.stderr.includes("waiting"), "it waits");
  await rig.coordinator(["--listen", address]);
  rig.worker(address, "w1");
  expect((await job.ended).code, job.stderr).toBe(0);
  expect(job.stdout).toContain("done  out:a");
}, 100_000);
