import { OptionError } from "../options/index.ts";
import {
  FinishedOutput,
  HubPublication,
  type HubPublicationPorts,
  type HubPublished,
  maybeOutputFiles,
  PublishError,
  type VerifyReport,
  verifyOutput,
} from "../output/index.ts";
import { isHubPlace, openHubRepository, openStores, placeOf } from "../storage/index.ts";

export interface PublishSettings {
  /** The folder of an output that is finished. */
  readonly out: string;
  /** `hf://owner/name`, or `hf://owner/name@branch`. */
  readonly to: string;
  readonly title?: string | undefined;
  readonly pullRequest?: boolean;
  readonly public?: boolean;
  readonly overwrite?: boolean;
}

/** What whoever started it is told. */
export interface PublishPorts extends HubPublicationPorts {
  /** The output is about to be read, every byte. */
  readonly verifying?: (bytes: number) => void;
}

/** `damaged`: the output is not as its records say, and nothing was sent. */
export type PublishEnd =
  | { readonly outcome: "damaged"; readonly report: VerifyReport }
  | { readonly outcome: "done"; readonly published: HubPublished; readonly seconds: number };

/**
 * Puts an output that is finished in a folder on the Hub: looks at what is there, verifies the output, and sends what is missing. Begun
 * again it goes on. @throws OptionError, PublishError, StorageError
 */
export async function runPublish(settings: PublishSettings, ports: PublishPorts = {}): Promise<PublishEnd> {
  const { title, pullRequest = false, public: isPublic = false, overwrite = false } = settings;
  if (pullRequest && isPublic) {
    throw new OptionError("options/value", "--public is of a repository of one's own, --pull-request asks its owner", {
      hint: "Give one of the two.",
    });
  }
  const began = performance.now();
  const [store, out, to] = [openStores(), placeOf(settings.out), placeOf(settings.to)];
  if (!isHubPlace(to)) {
    throw new PublishError("publish/target", `cannot publish to ${to}: outputs are published on the Hub`, {
      hint: "Write hf://owner/name, or hf://owner/name@branch.",
    });
  }
  const files = await maybeOutputFiles(store, out);
  const verify = async () => {
    ports.verifying?.(files?.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) ?? 0);
    return verifyOutput(store, out);
  };
  if (files === undefined) return { outcome: "damaged", report: await verify() };
  const output = await FinishedOutput.open(store, out, files);
  const options = { output, to, title, isPullRequest: pullRequest, isPublic, overwrite };
  // What is refused there is told before the output is read.
  const publication = await HubPublication.begin(store, await openHubRepository(to), options);
  if (!publication.isThere) {
    const report = await verify();
    if (!report.ok) return { outcome: "damaged", report };
  }
  const published = await publication.send(ports);
  return { outcome: "done", published, seconds: (performance.now() - began) / 1000 };
}
