import { createHash } from "node:crypto";
import type { Client, MethodDefinition, ServiceError } from "@grpc/grpc-js";
import {
  CoordinatorService,
  type FailureReport,
  type GrantAnswer,
  type GrantRequest,
  type ReportAnswer,
  type SliceReport,
} from "../../proto/index.ts";
import { Gatherer, planTextOf, systemTimers, type Timers } from "../../wire/index.ts";

/** Every call ends, also where nobody answers. Reports wait for the journal, and for results to be fetched. */
const DEADLINES_MS = { grants: 20_000, reports: 120_000, failures: 20_000, plan: 120_000 } as const;

interface SizedReport {
  readonly report: SliceReport;
  readonly bytes: number;
}

/** The worker's calls, but for Attach and bulk bytes; small ones are gathered for some milliseconds. All of them are safe to repeat. @throws ServiceError */
export class CoordinatorCalls {
  readonly #client: () => Client;
  readonly #grants: Gatherer<GrantRequest, GrantAnswer>;
  readonly #reports: Gatherer<SizedReport, ReportAnswer>;
  readonly #failures: Gatherer<FailureReport, ReportAnswer>;

  /** `client`: of the connection that is used now. */
  constructor(client: () => Client, timers: Timers = systemTimers) {
    this.#client = client;
    this.#grants = new Gatherer({ timers, send: (entries) => this.#requestGrants(entries) });
    this.#reports = new Gatherer({
      timers,
      send: (entries) => this.#reportSlices(entries),
      bytesOf: ({ bytes }) => bytes,
    });
    this.#failures = new Gatherer({ timers, send: (entries) => this.#reportFailures(entries) });
  }

  requestGrant(request: GrantRequest): Promise<GrantAnswer> {
    return this.#grants.add(request);
  }

  /** `bytes`: about its size, where that is worth a word. */
  reportSlice(report: SliceReport, bytes = 0): Promise<ReportAnswer> {
    return this.#reports.add({ report, bytes });
  }

  reportFailure(report: FailureReport): Promise<ReportAnswer> {
    return this.#failures.add(report);
  }

  async #requestGrants(requests: readonly GrantRequest[]): Promise<readonly GrantAnswer[]> {
    const method = CoordinatorService.requestGrants;
    return (await this.#unary(method, { requests: [...requests] }, DEADLINES_MS.grants)).answers;
  }

  async #reportSlices(entries: readonly SizedReport[]): Promise<readonly ReportAnswer[]> {
    const method = CoordinatorService.reportSlices;
    const reports = entries.map(({ report }) => report);
    return (await this.#unary(method, { reports }, DEADLINES_MS.reports)).answers;
  }

  async #reportFailures(reports: readonly FailureReport[]): Promise<readonly ReportAnswer[]> {
    const method = CoordinatorService.reportFailures;
    return (await this.#unary(method, { reports: [...reports] }, DEADLINES_MS.failures)).answers;
  }

  /** The plan's canonical JSON. */
  readPlan(jobId: string): Promise<Uint8Array> {
    const { path, requestSerialize, responseDeserialize } = CoordinatorService.readPlan;
    const options = { deadline: Date.now() + DEADLINES_MS.plan };
    return new Promise((resolve, reject) => {
      const pieces: Uint8Array[] = [];
      const call = this.#client().makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { jobId, takesGzip: true },
        options,
      );
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

  #unary<Request, Response>(
    {
      path,
      requestSerialize,
      responseDeserialize,
    }: Pick<MethodDefinition<Request, Response>, "path" | "requestSerialize" | "responseDeserialize">,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#client().makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, response?: Response) => {
          if (error !== null || response === undefined) reject(error ?? new Error(`${path} was answered by nothing`));
          else resolve(response);
        },
      );
    });
  }
}

/** 32 bytes that stand for a name. */
export function sha256Of(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
