import { StorageError } from "../errors.ts";
import type { HttpAnswer } from "../http/http-errors.ts";
import type { Place } from "../place.ts";
import type { HubToken } from "./hub-settings.ts";

/** Of a request that the Hub refused, and what is known about who made it. */
export interface Refusal {
  readonly action: string;
  readonly place: Place;
  readonly id: string;
  readonly revision: string | undefined;
  readonly endpoint: URL;
  readonly token: HubToken | undefined;
  readonly answer: HttpAnswer;
  /** Of what is put there, and not read. */
  readonly isWriting?: boolean;
  /** Whether the Hub knows whose the token is; undefined where there is none, or it was not asked. */
  readonly knowsToken?: boolean | undefined;
}

/** What the Hub says of a token that it does not know, or that has ended. */
const WRONG_TOKEN = "Invalid credentials in Authorization header";
const DISABLED = "Access to this resource is disabled.";
const SAID_MAX_CHARACTERS = 300;

/** Whether only the Hub's word about the token itself tells what a refusal means. */
export function isUnclear({ answer, token }: Pick<Refusal, "answer" | "token">): boolean {
  return token !== undefined && answer.status === 401 && errorCodeOf(answer) !== "GatedRepo" && !isOfToken(answer);
}

/** What a refusal means, told apart as far as the Hub tells it: whoever may not see a model is not told whether there is one. */
export function hubError(refusal: Refusal): StorageError {
  const { action, place, id, revision, endpoint, token, answer } = refusal;
  const { status } = answer;
  const code = errorCodeOf(answer);
  const said = saidBy(answer);
  const page = `${endpoint.origin}/${id}`;
  const cannot = `cannot ${action} ${place}`;
  if (token !== undefined && (isOfToken(answer) || refusal.knowsToken === false)) {
    return new StorageError("storage/hub-token", `${cannot}: the Hub does not know the token of ${token.from}`, {
      hint: `It is mistyped, or has ended. Get another one with hf auth login${refusal.isWriting === true ? "" : ", or take it away to read public models"}.`,
    });
  }
  if (code === "GatedRepo") {
    const who = token === undefined ? "no token was sent" : `the account of the token of ${token.from} may not read it`;
    const login = token === undefined ? ", then hf auth login (or HF_TOKEN)" : ", with that account";
    return new StorageError("storage/hub-gated", `${cannot}: ${id} is gated, and ${who}`, {
      hint: `Ask for access at ${page}${login}; some models are open once their terms are accepted, others when their owner agrees.`,
    });
  }
  if (code === "RevisionNotFound") {
    const shown = JSON.stringify(revision ?? "main");
    return new StorageError("storage/hub-revision", `${cannot}: ${id} has no branch, tag or commit ${shown}`, {
      hint: `Its branches and tags are at ${page}/tree/main; a commit is written with all of its 40 digits.`,
    });
  }
  if (code === "EntryNotFound") {
    return new StorageError("storage/not-found", `${cannot}: there is no such file in ${id}`, {
      hint: `Its files are at ${page}/tree/${revision ?? "main"}.`,
    });
  }
  if (said === DISABLED) {
    return new StorageError("storage/denied", `${cannot}: the Hub has disabled ${id}`, { hint: `See ${page}.` });
  }
  if (code === "RepoNotFound" || status === 401) {
    if (token === undefined) {
      return new StorageError("storage/hub-login", `${cannot}: without a token the Hub shows no model ${id}`, {
        hint: "Check the name. A private model is shown to its members alone: hf auth login, or HF_TOKEN.",
      });
    }
    return new StorageError(
      "storage/hub-model",
      `${cannot}: there is no model ${id}, or the account of the token of ${token.from} may not see it`,
      { hint: "Check the name, and whether the token is one of an account that the model is shared with." },
    );
  }
  if (refusal.isWriting === true) {
    const found = writeError(refusal, cannot, said);
    if (found !== undefined) return found;
  }
  if (status === 403) {
    const who = token === undefined ? "without a token" : `with the token of ${token.from}`;
    return new StorageError("storage/denied", `${cannot}: the Hub refuses it ${who}${said === "" ? "" : `: ${said}`}`, {
      hint: "A fine-grained token must be allowed to read the contents of that repository: see the settings of the account.",
    });
  }
  return new StorageError(
    "storage/network",
    `${cannot}: ${endpoint.host} answers ${status}${said === "" ? "" : `, ${said}`}, which no Hub does`,
    { hint: "Check HF_ENDPOINT, and what stands between this machine and the Hub." },
  );
}

/** What the Hub says where there is no more room: of private repositories, of an account, of one file. */
const NO_ROOM = /\b(?:storage|size) (?:limit|quota)|\bquota\b|too large|exceed/i;

function writeError({ endpoint, token, answer, id }: Refusal, cannot: string, said: string): StorageError | undefined {
  const { status } = answer;
  const told = said === "" ? "" : `: ${said}`;
  if (status === 402 || status === 413 || status === 507 || (status === 403 && NO_ROOM.test(said))) {
    return new StorageError("storage/over-limit", `${cannot}: ${endpoint.host} has no room for it${told}`, {
      hint: `Free some of it, or take a larger plan: ${endpoint.origin}/settings/billing. The same command sends the rest then.`,
    });
  }
  if (status === 403) {
    const owner = id.includes("/") ? ` of ${id.split("/")[0]}` : "";
    return new StorageError("storage/hub-write", `${cannot}: the token of ${token?.from} may not write there${told}`, {
      hint: `Take a token that may write to repositories${owner}; publish below your own name; or, of a repository that is there, open a pull request (--pull-request).`,
    });
  }
  if (status === 412) {
    return new StorageError("storage/changed", `${cannot}: somebody committed to it meanwhile`, {
      hint: `See ${endpoint.origin}/${id}/commits. Nothing was changed; what was sent is kept, and the same command looks anew.`,
    });
  }
  if (status === 400 || status === 422) {
    return new StorageError("storage/hub-refused", `${cannot}: the Hub refuses it (${status})${told}`, {
      hint: "Nothing was committed. Correct what the Hub says.",
    });
  }
  return undefined;
}

/** Of an answer that is none of the Hub's: another server's, or a page that a network puts before itself. */
export function noHubError(place: Place, endpoint: URL, what: string): StorageError {
  return new StorageError("storage/network", `cannot read ${place}: ${endpoint.host} ${what}, which no Hub does`, {
    hint: "Check HF_ENDPOINT, and what stands between this machine and the Hub.",
  });
}

export function offlineError(action: string, place: Place): StorageError {
  return new StorageError(
    "storage/hub-offline",
    `cannot ${action} ${place}: the Hub may not be asked (HF_HUB_OFFLINE)`,
    {
      hint: "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE; a model that is read may be got into the Hub's cache first.",
    },
  );
}

function errorCodeOf({ headers }: HttpAnswer): string | undefined {
  return headers.get("x-error-code");
}

function isOfToken(answer: HttpAnswer): boolean {
  return answer.status === 401 && saidBy(answer).startsWith(WRONG_TOKEN);
}

/** The Hub's own words, without control characters and addresses' queries. */
function saidBy({ headers }: HttpAnswer): string {
  return shownOf(headers.get("x-error-message") ?? "");
}

/** What the Hub says, as far as it may be shown. */
export function shownOf(said: string): string {
  return said
    .replaceAll(/\?[^\s"'<>]*/g, "?…")
    .replaceAll(/[\p{Cc}\s]+/gu, " ")
    .trim()
    .slice(0, SAID_MAX_CHARACTERS);
}
