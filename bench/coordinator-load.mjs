// The load generator's process of bench/coordinator.mjs: workers that compute nothing and answer at once, each on a connection of its own.
import { credentials, Metadata } from "@grpc/grpc-js";
import { CoordinatorClient } from "../dist/proto/index.js";
import {
  attachMethod,
  BatchWriter,
  encodedRequest,
  GATHER_MS,
  PROTOCOL_VERSION,
  responsesIn,
  severalRequests,
  WORKER_KEY,
} from "../dist/wire/index.js";

const { port, workers } = JSON.parse(process.argv[2]);
const GRANTED = 1;
const sha256 = Buffer.alloc(32, 0xcd);
const counts = { bytesRead: 0n, bytesWritten: 0n, tensorsCut: 0 };
const roots = [
  { name: "models", writable: false },
  { name: "out", writable: true },
];

function start(k) {
  const client = new CoordinatorClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  const metadata = new Metadata();
  metadata.set(WORKER_KEY, `w${k}`);
  const { path, requestSerialize, responseDeserialize } = attachMethod;
  const attached = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
  const writer = new BatchWriter(attached, { join: severalRequests, soon: (act) => void setTimeout(act, GATHER_MS) });
  const send = ($case, value) => writer.send(encodedRequest({ $case, value }));
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
  send("hello", hello);
  let sequence = 0n;
  let number = 0;
  /** What was asked for, by number. */
  const asked = new Map();
  const ask = (question) => send("question", { number, question });
  attached.on("data", (response) => {
    for (const message of responsesIn(response)) hear(message);
  });
  const hear = ({ $case, value }) => {
    if ($case === "welcome") {
      const timer = setInterval(() => {
        send("heartbeat", { sequence: ++sequence, held: [], memoryUsedBytes: 0n });
      }, Number(value.heartbeatMs));
      timer.unref();
    } else if ($case === "job" && k === 0) {
      // One of them reads the plan, so that its text is made and kept as ever; if each did, this would be a bench of that.
      client.readPlan({ jobId: value.jobId, takesGzip: true }, metadata).resume();
    } else if ($case === "assignment" && value.work?.$case === "slice") {
      asked.set(++number, value.id);
      ask({ $case: "grant", value: { id: value.id, sha256 } });
    } else if ($case === "answer") {
      const id = asked.get(value.number);
      asked.delete(value.number);
      if (value.answer?.$case !== "grant" || value.answer.value !== GRANTED) return;
      number++;
      ask({ $case: "report", value: { id, counts, warnings: [], result: { $case: "sliceSha256", value: sha256 } } });
    }
  };
  attached.on("error", () => process.exit(0));
}

for (let k = 0; k < workers; k++) {
  start(k);
  if (k % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 20));
}
