import { OptionError } from "../options/index.ts";
import {
  BucketPublication,
  FinishedOutput,
  HubPublication,
  type HubPublicationPorts,
  maybeOutputFiles,
  PublishError,
  SUMS_NAME,
  type VerifyReport,
  verifyOutput,
} from "../output/index.ts";
import { isHubPlace, openHubRepository, openStores, placeOf, type Stores, schemeOf } from "../storage/index.ts";
import { outPlaceOf } from "./out-place.ts";

export interface PublishSettings {
  /** An output that is finished: a folder, or a prefix of a bucket. */
  readonly out: string;
  /** `hf://owner/name`, `hf://owner/name@branch`, or `s3://bucket/prefix`. */
  readonly to: string;
  readonly overwrite?: boolean;
  /** Most bytes a second. */
  readonly bandwidthBytes?: number | undefined;
  /** Of the Hub alone. */
  readonly title?: string | undefined;
  readonly pullRequest?: boolean;
  readonly public?: boolean;
  /** Of buckets alone: a holder of a claim of whom somebody is certain that it has ended. */
  readonly takeOver?: string | undefined;
}

/** What whoever started it is told. */
export interface PublishPorts extends HubPublicationPorts {
  /** The output is about to be read, every byte. */
  readonly verifying?: (bytes: number) => void;
}

export interface Published {
  /** Where it is to be seen. */
  readonly url: string;
  /** Nothing had to be sent: all of it was there. */
  readonly wasThere: boolean;
  /** Of the Hub. */
  readonly commit?: string;
  readonly isPrivate?: boolean;
}

/** `damaged`: the output is not as its records say, and nothing was sent. */
export type PublishEnd =
  | { readonly outcome: "damaged"; readonly report: VerifyReport }
  | { readonly outcome: "done"; readonly published: Published; readonly seconds: number };

/** An output on its way, wherever that leads. */
interface Publication {
  readonly isThere: boolean;
  send(ports: PublishPorts): Promise<Published>;
}

/**
 * Puts an output that is finished on the Hub or into a bucket: looks at what is there, verifies the output, and sends what is
 * missing. Begun again it goes on. @throws OptionError, PublishError, StorageError
 */
export async function runPublish(settings: PublishSettings, ports: PublishPorts = {}): Promise<PublishEnd> {
  const begin = publicationOf(settings);
  const began = performance.now();
  const { bandwidthBytes } = settings;
  const [store, out] = [openStores(bandwidthBytes === undefined ? {} : { bandwidthBytes }), outPlaceOf(settings.out)];
  const files = await maybeOutputFiles(store, out);
  const verify = async () => {
    if (files !== undefined) ports.verifying?.(files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    return verifyOutput(store, out);
  };
  if (files === undefined) return { outcome: "damaged", report: await verify() };
  if (!files.some(({ name }) => name === SUMS_NAME)) throw withoutSums(settings.out);
  // What is refused there is told before the output is read.
  const publication = await begin(store, await FinishedOutput.open(store, out, files));
  if (!publication.isThere) {
    const report = await verify();
    if (!report.ok) return { outcome: "damaged", report };
  }
  const published = await publication.send(ports);
  return { outcome: "done", published, seconds: (performance.now() - began) / 1000 };
}

type BeginPublication = (store: Stores, output: FinishedOutput) => Promise<Publication>;

/** @throws OptionError of settings that exclude each other; PublishError of a place that is neither */
function publicationOf(settings: PublishSettings): BeginPublication {
  const { title, pullRequest = false, public: isPublic = false, overwrite = false, takeOver } = settings;
  const { bandwidthBytes } = settings;
  const isHub = isHubPlace(placeOf(settings.to));
  if (isHub) {
    if (pullRequest && isPublic)
      throw excluded("--public is of a repository of one's own, --pull-request asks its owner");
    if (takeOver !== undefined) throw excluded("--take-over is of a bucket: on the Hub nobody holds anything");
    const to = placeOf(settings.to);
    return async (store, output) =>
      HubPublication.begin(store, await openHubRepository(to, { bandwidthBytes }), {
        ...{ output, to, title, isPullRequest: pullRequest, isPublic, overwrite },
      });
  }
  if (pullRequest || isPublic || title !== undefined)
    throw excluded("--public, --pull-request and --title are of the Hub, and that is no place of it");
  const to = outPlaceOf(settings.to);
  if (schemeOf(to) === "s3")
    return async (store, output) =>
      BucketPublication.begin(await store.objects(to), { output, to, overwrite, takeOver });
  throw new PublishError("publish/target", `cannot publish to ${to}: outputs are published on the Hub and in buckets`, {
    hint: "Write hf://owner/name, hf://owner/name@branch, or s3://bucket/prefix.",
  });
}

function withoutSums(out: string): PublishError {
  return new PublishError(
    "publish/target",
    `cannot publish ${out}: it was merged with --seal checksums, and nobody knows the SHA-256 of its shards as a whole`,
    { hint: "Merge it with --seal read where it is to be published, on the Hub or in another bucket." },
  );
}

function excluded(message: string): OptionError {
  return new OptionError("options/value", message, { hint: "Leave one of the two away." });
}
