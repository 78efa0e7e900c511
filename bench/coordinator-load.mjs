// The load generator's process of bench/coordinator.mjs: workers that compute nothing and answer at once, each on a connection of its own.
import { credentials, Metadata } from "@grpc/grpc-js";
import { CoordinatorClient } from "../dist/proto/index.js";
import { Gatherer, PROTOCOL_VERSION, WORKER_KEY } from "../dist/wire/index.js";

const { port, workers } = JSON.parse(process.argv[2]);
const GRANTED = 1;
const sha256 = Buffer.alloc(32, 0xcd);
const counts = { bytesRead: 0n, bytesWritten: 0n, tensorsCut: 0 };
const roots = [
  { name: "models", writable: false },
  { name: "out", writable: true },
];

function unary(call) {
  return new Promise((resolve, reject) =>
    call((error, answer) => (error === null ? resolve(answer.answers) : reject(error))),
  );
}

function start(k) {
  const client = new CoordinatorClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  const metadata = new Metadata();
  metadata.set(WORKER_KEY, `w${k}`);
  const attached = client.attach(metadata);
  const hello = {
    protocolVersion: PROTOCOL_VERSION,
    softwareVersion: "bench",
    workerName: `w${k}`,
    engine: "wasm",
    kernelId: Buffer.alloc(32),
    threads: 1,
    memoryBytes: 2n ** 33n,
    roots,
    listenAddress: "",
    held: [],
    incarnation: "1",
    host: `h${k}`,
  };
  attached.write({ message: { $case: "hello", value: hello } });
  const grants = new Gatherer({
    send: (requests) => unary((done) => client.requestGrants({ requests }, metadata, done)),
  });
  const reports = new Gatherer({
    send: (entries) => unary((done) => client.reportSlices({ reports: entries }, metadata, done)),
  });
  let sequence = 0n;
  attached.on("data", ({ message }) => {
    if (message?.$case === "welcome") {
      const timer = setInterval(() => {
        attached.write({
          message: { $case: "heartbeat", value: { sequence: ++sequence, held: [], memoryUsedBytes: 0n } },
        });
      }, Number(message.value.heartbeatMs));
      timer.unref();
    }
    // One of them reads the plan, so that its text is made and kept as ever; if each did, this would be a bench of that.
    if (message?.$case === "job" && k === 0)
      client.readPlan({ jobId: message.value.jobId, takesGzip: true }, metadata).resume();
    if (message?.$case !== "assignment") return;
    const { id, work } = message.value;
    if (work?.$case === "slice") void slice(id);
  });
  attached.on("error", () => process.exit(0));
  const slice = async (id) => {
    try {
      const { decision } = await grants.add({ id, sha256 });
      if (decision === GRANTED)
        await reports.add({ id, counts, warnings: [], result: { $case: "sliceSha256", value: sha256 } });
    } catch {
      process.exit(0);
    }
  };
}

for (let k = 0; k < workers; k++) {
  start(k);
  if (k % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 20));
}
