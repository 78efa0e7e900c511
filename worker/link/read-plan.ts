import type { Client } from "@grpc/grpc-js";
import { CoordinatorService } from "../../proto/index.ts";
import { planTextOf } from "../../wire/index.ts";

/** The call ends, also where nobody answers. */
const DEADLINE_MS = 120_000;

/** The plan's canonical JSON. Safe to repeat. @throws ServiceError */
export function readPlan(client: Client, jobId: string): Promise<Uint8Array> {
  const { path, requestSerialize, responseDeserialize } = CoordinatorService.readPlan;
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    const request = { jobId, takesGzip: true };
    const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, options);
    call.on("data", (message) => {
      try {
        pieces.push(planTextOf(message));
      } catch (error) {
        call.cancel();
        reject(error);
      }
    });
    call.on("error", reject);
    call.on("end", () => resolve(Buffer.concat(pieces)));
  });
}
