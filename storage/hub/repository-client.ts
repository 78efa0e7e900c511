import type { StorageError } from "../errors.ts";
import type { HttpAnswer } from "../http/http-errors.ts";
import type { Place } from "../place.ts";
import type { HubAsked, HubClient, HubQuestion } from "./hub-client.ts";
import { noHubError } from "./hub-errors.ts";
import type { HubToken } from "./hub-settings.ts";

export const WRITING_ACTION = "publish to";
const ASKED_AT_ONCE = 100;
/** Of what the Hub does with many bytes before it answers: large files put together of their parts, commits. */
export const LONG_MS = 10 * 60_000;

/** Asks the Hub about one repository that is written to; what it refuses is told as that of one. */
export class RepositoryClient {
  readonly place: Place;
  readonly id: string;
  readonly #client: HubClient;

  constructor(client: HubClient, place: Place, id: string) {
    this.#client = client;
    this.place = place;
    this.id = id;
  }

  get endpoint(): URL {
    return this.#client.endpoint;
  }

  maybeToken(): Promise<HubToken | undefined> {
    return this.#client.token();
  }

  /** The answer 200. @throws StorageError of any other */
  ask(path: string, question: HubQuestion): Promise<HttpAnswer> {
    return this.#client.given(WRITING_ACTION, this.#asked, path, question);
  }

  /** Whatever the answer is. */
  answered(path: string, question: HubQuestion): Promise<HttpAnswer> {
    return this.#client.answered(WRITING_ACTION, this.#asked, path, question);
  }

  refused(answer: HttpAnswer): Promise<StorageError> {
    return this.#client.refused(WRITING_ACTION, this.#asked, answer);
  }

  json(answer: HttpAnswer): unknown {
    return this.#client.json(this.place, answer);
  }

  own(url: URL): URL {
    return this.#client.own(url);
  }

  noHub(what: string): StorageError {
    return noHubError(this.place, this.endpoint, what);
  }

  get #asked(): HubAsked {
    return { id: this.id, revision: undefined, place: this.place, isWriting: true };
  }
}

/** As many as one question may be about. */
export function groupsOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  const groups: T[][] = [];
  for (let at = 0; at < items.length; at += ASKED_AT_ONCE) groups.push(items.slice(at, at + ASKED_AT_ONCE));
  return groups;
}
