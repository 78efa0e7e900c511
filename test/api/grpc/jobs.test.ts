import { type CallOptions, credentials, Metadata, Server, ServerCredentials, type ServiceError } from "@grpc/grpc-js";
import { eventOfMessage, jobOfMessage, jobsHandlers, workerOfMessage } from "../../../api/grpc/index.ts";
import { FailuresError } from "../../../merge/work/index.ts";
import { JobsClient, JobsService, SubmitRequest } from "../../../proto/index.ts";
import type { Caller, Jobs } from "../../../service/index.ts";
import { failuresOfCall, messageOfOptions } from "../../../wire/index.ts";
import { jobsContract } from "../../service/jobs.contract.ts";

const CALLER = "caller";

/** Who calls, said by themselves: certificates are the trust room's tests' matter. */
function callerOf(call: { readonly metadata: Metadata }): Caller {
  return JSON.parse(String(call.metadata.get(CALLER)[0])) as Caller;
}

function failed(error: unknown): unknown {
  const [first, ...others] = failuresOfCall(error as ServiceError, "the server");
  return new FailuresError([first, ...others], error);
}

/** The service as a client of gRPC has it. */
class GrpcJobs implements Jobs {
  readonly #client: JobsClient;

  constructor(client: JobsClient) {
    this.#client = client;
  }

  async submit(caller: Caller, { options, ...request }: Parameters<Jobs["submit"]>[1]) {
    const message = SubmitRequest.fromPartial({ ...request, options: messageOfOptions(options) });
    const { job, warnings } = await this.#call(caller, this.#client.submit, message);
    return { job: jobOfMessage(job), warnings };
  }

  async list(caller: Caller, options: { readonly all: boolean }) {
    return (await this.#call(caller, this.#client.list, options)).jobs.map(jobOfMessage);
  }

  async get(caller: Caller, job: string) {
    return jobOfMessage((await this.#call(caller, this.#client.get, { job })).job);
  }

  async control(caller: Caller, job: string, wish: Parameters<Jobs["control"]>[2]) {
    const { pause, resume, cancel, terminate } = this.#client;
    const method = { pause, none: resume, cancel, terminate }[wish];
    return jobOfMessage((await this.#call(caller, method, { job })).job);
  }

  async *events(caller: Caller, job: string, { after, follow }: Parameters<Jobs["events"]>[2]) {
    const afterSequence = after === "none" ? 2n ** 63n : BigInt(after);
    try {
      for await (const message of this.#client.watch({ job, afterSequence, follow }, said(caller))) {
        const event = eventOfMessage(message);
        if (event !== undefined) yield event;
      }
    } catch (error) {
      throw failed(error);
    }
  }

  async workers(caller: Caller) {
    return (await this.#call(caller, this.#client.listWorkers, {})).workers.map(workerOfMessage);
  }

  #call<Request, Response>(
    caller: Caller,
    method: (
      request: Request,
      metadata: Metadata,
      options: Partial<CallOptions>,
      callback: (error: ServiceError | null, response: Response) => void,
    ) => unknown,
    request: Request,
  ): Promise<Response> {
    return new Promise((resolve, reject) =>
      method.call(this.#client, request, said(caller), {}, (error, response) =>
        error === null ? resolve(response) : reject(failed(error)),
      ),
    );
  }
}

function said(caller: Caller): Metadata {
  const metadata = new Metadata();
  metadata.set(CALLER, JSON.stringify(caller));
  return metadata;
}

jobsContract("over gRPC", async (jobs) => {
  const server = new Server();
  server.addService(JobsService, jobsHandlers(jobs, callerOf) as never);
  const port = await new Promise<number>((done, failed) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? done(bound) : failed(error),
    ),
  );
  const client = new JobsClient(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    jobs: new GrpcJobs(client),
    close: async () => {
      client.close();
      server.forceShutdown();
    },
  };
});
