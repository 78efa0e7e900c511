import { expect, test } from "vitest";
import { CoordinatorService } from "../../../proto/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { openConnection } from "../../../worker/transfer/connection.ts";
import { canPass } from "../../../worker/transfer/index.ts";

test("a call on a connection that was given up can be made again on the next", async () => {
  const connection = await openConnection(new FileStore(), { address: "127.0.0.1:9", workerName: "w" });
  connection.close();
  const { path, requestSerialize, responseDeserialize } = CoordinatorService.readPlan;
  const call = () =>
    connection.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {
      jobId: "j",
      takesGzip: false,
    });
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(canPass(thrown)).toBe(true);
});
