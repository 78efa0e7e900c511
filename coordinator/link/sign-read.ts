import type { SignReadRequest, SignReadResponse } from "../../proto/index.ts";
import type { Place } from "../../storage/index.ts";
import { malformed } from "../../wire/index.ts";
import type { RemoteJob } from "./remote-job.ts";

/** An address by which a worker reads what it asks for. @throws WireError `wire/malformed`; StorageError */
export async function signRead(job: RemoteJob, { what }: SignReadRequest): Promise<SignReadResponse> {
  const place = placeIn(job, what);
  if (place === undefined || job.signing?.canRead(place) !== true)
    throw malformed("a question for an address of what the job does not have, or has no addresses of");
  const { url, headers } = await job.signing.read(place);
  return { url, headers: { ...headers } };
}

function placeIn({ inputs, shardPaths }: RemoteJob, what: SignReadRequest["what"]): Place | undefined {
  switch (what?.$case) {
    case "input":
      return inputs[what.value.input]?.files[what.value.file]?.path;
    case "shard":
      return shardPaths[what.value];
    default:
      return undefined;
  }
}
