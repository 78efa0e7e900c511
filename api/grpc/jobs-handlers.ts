import type { ServerErrorResponse, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import type { Wish } from "../../coordinator/queue/index.ts";
import type { Job, JobsServer, SubmitRequest, WatchResponse } from "../../proto/index.ts";
import type { Caller, JobRequest, Jobs } from "../../service/index.ts";
import { malformed, optionsOfMessage, StreamWriter, statusOf } from "../../wire/index.ts";
import { messageOfEvent, messageOfJob, messageOfWorker } from "./job-messages.ts";

/** What of a call says who makes it. */
export type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, "getAuthContext" | "metadata">;

/** From here on nobody wants history. */
const NO_HISTORY = 2n ** 62n;

/** The jobs service over gRPC: words there, words back. `callerOf` throws where nobody is known. */
export function jobsHandlers(jobs: Jobs, callerOf: (call: AnyCall) => Caller): JobsServer {
  const control = (wish: Wish) =>
    unary(async ({ job }: { job: string }, caller): Promise<{ job: Job | undefined }> => {
      return { job: messageOfJob(await jobs.control(caller, job, wish)) };
    });
  function unary<Request, Response>(answer: (request: Request, caller: Caller) => Promise<Response>) {
    return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
      const answered = async () => answer(call.request, callerOf(call));
      answered().then(
        (response) => callback(null, response),
        (error: unknown) => callback(statusOf(error) as Partial<ServerErrorResponse>),
      );
    };
  }
  return {
    submit: unary(async (request, caller) => {
      const { job, warnings } = await jobs.submit(caller, requestOf(request));
      return { job: messageOfJob(job), warnings: [...warnings] };
    }),
    list: unary(async ({ all }, caller) => ({ jobs: (await jobs.list(caller, { all })).map(messageOfJob) })),
    get: unary(async ({ job }, caller) => ({ job: messageOfJob(await jobs.get(caller, job)) })),
    watch: (call) => {
      const writer = new StreamWriter<WatchResponse>(call);
      const gone = new AbortController();
      call.on("cancelled", () => gone.abort());
      const run = async () => {
        const { job, afterSequence, follow } = call.request;
        const after = afterSequence >= NO_HISTORY ? "none" : Number(afterSequence);
        const events = jobs.events(callerOf(call), job, { after, follow, signal: gone.signal });
        for await (const event of events) await writer.write(messageOfEvent(event));
        await writer.end();
      };
      run().catch((error: unknown) => {
        if (!writer.ended) call.emit("error", Object.assign(new Error(), statusOf(error)));
      });
    },
    pause: control("pause"),
    resume: control("none"),
    cancel: control("cancel"),
    terminate: control("terminate"),
    listWorkers: unary(async (_, caller) => ({ workers: (await jobs.workers(caller)).map(messageOfWorker) })),
  };
}

function requestOf({ output, options, ...request }: SubmitRequest): JobRequest {
  if (output === undefined) throw malformed("a job without an output");
  return { ...request, output, options: optionsOfMessage(options) };
}
