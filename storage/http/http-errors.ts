import { errnoOf, StorageError } from "../errors.ts";
import { Unreachable } from "./reachable.ts";
import type { AnswerMeaning, HttpTarget } from "./target.ts";

/** An answer to a question, read to its end or as far as it was allowed to be long. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in small letters. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

const SAID_MAX_CHARACTERS = 300;

/**
 * What a server says in its answer, as far as it may be shown: code and message of XML (of a refused signature more stands there: keys and
 * what was signed), the error of JSON, the title of a page, the first line of a text; no query of an address.
 */
export function saidIn({ headers, body }: Pick<HttpAnswer, "headers" | "body">): string {
  const text = Buffer.from(body).toString("utf8").trim();
  const kind = headers.get("content-type") ?? "";
  const said = /^</.test(text) ? ofMarkup(text) : /json/.test(kind) || text.startsWith("{") ? ofJson(text) : text;
  const shown = (said.split("\n", 1)[0] ?? "")
    .replaceAll(/\?[^\s"'<>]*/g, "?…")
    .replaceAll(/[\p{Cc}\s]+/gu, " ")
    .trim();
  return shown.length > SAID_MAX_CHARACTERS ? `${shown.slice(0, SAID_MAX_CHARACTERS)}…` : shown;
}

function ofMarkup(text: string): string {
  const code = elementIn(text, "Code");
  if (code === undefined) return (elementIn(text, "title") ?? elementIn(text, "h1") ?? "").replaceAll(/<[^>]*>/g, "");
  const message = elementIn(text, "Message");
  return message === undefined || message === "" ? code : `${code}: ${message}`;
}

function elementIn(text: string, name: string): string | undefined {
  return new RegExp(`<${name}(?:\\s[^>]*)?>([^<]*)</${name}>`, "i").exec(text)?.[1]?.trim();
}

function ofJson(text: string): string {
  try {
    const { error, message } = JSON.parse(text) as { readonly error?: unknown; readonly message?: unknown };
    return [error, message].find((value) => typeof value === "string") ?? "";
  } catch {
    return "";
  }
}

const throttledStatuses = new Set([429, 503]);
const passingStatuses = new Set([408, 421, 425, 500, 502, 504]);

export function meaningOf(target: HttpTarget, status: number, said: string): AnswerMeaning {
  const meaning = target.meaningOf?.(status, said);
  if (meaning !== undefined) return meaning;
  if (status === 401 || status === 403) return "refused";
  if (throttledStatuses.has(status)) return "throttled";
  return passingStatuses.has(status) ? "passing" : "final";
}

/** What an answer that is no success means for whoever wanted to `action` the target. */
export function answerError(target: HttpTarget, action: string, url: URL, answer: HttpAnswer): StorageError {
  const { status } = answer;
  const said = saidIn(answer);
  const message = `cannot ${action} ${target.place}: ${url.host} answers ${status}${said === "" ? "" : `, ${said}`}`;
  const meaning = meaningOf(target, status, said);
  if (status === 404 || status === 410)
    return new StorageError("storage/not-found", message, { hint: "Check the address." });
  if (meaning === "refused")
    return new StorageError("storage/denied", message, { hint: "Check who may do that, and with which key or token." });
  if (status === 412) return changedError(target, action, "the server refuses the condition that it is still the same");
  if (status === 416)
    return new StorageError("storage/short-read", message, { hint: "It ends before that: it is not the file it was." });
  if (meaning === "throttled")
    return new StorageError("storage/network", message, {
      hint: "The server has too much to do, or a limit of requests is reached. Wait, and run the same command again.",
      retryable: true,
    });
  return new StorageError("storage/network", message, {
    hint:
      meaning === "passing"
        ? "The server has a fault of its own, which may pass: run the same command again."
        : "Check the address, and whether it is a server of files.",
    retryable: meaning === "passing",
  });
}

export function changedError(target: HttpTarget, action: string, difference: string): StorageError {
  return new StorageError(
    "storage/changed",
    `cannot ${action} ${target.place}: it is another one than at the beginning (${difference})`,
    { hint: "Somebody replaced it meanwhile. Put the old one back, or begin anew with what is there now." },
  );
}

/** Of a server that gives the whole in place of what was asked for. */
export function noRangesError(target: HttpTarget, action: string, what: string): StorageError {
  return new StorageError("storage/no-ranges", `cannot ${action} ${target.place}: ${what}`, {
    hint: "Weights are read in ranges. Serve it with a server that gives them (nginx, Caddy, Apache, any object store), or download it.",
  });
}

/** Certificates that are not what they should be stay so. */
const certificateErrors =
  /^(?:CERT_|ERR_TLS_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|ERR_SSL_)/;

/** Whether the same question, on another connection, may be answered. */
export function isPassing(error: unknown): boolean {
  if (error instanceof StorageError || error instanceof Unreachable) return false;
  const errno = errnoOf(error) ?? "";
  return errno !== "ENOTFOUND" && errno !== "ERR_INVALID_URL" && !certificateErrors.test(errno);
}

/** What went wrong with a connection. */
export function networkError(target: HttpTarget, action: string, url: URL, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const reason = reasonOf(error);
  const message = `cannot ${action} ${target.place}: ${url.host}: ${reason}`;
  if (error instanceof Unreachable)
    return new StorageError("storage/denied", message, {
      hint: "Nothing is read from there. Check the address.",
      cause: error,
    });
  const errno = errnoOf(error) ?? "";
  if (errno === "ENOTFOUND")
    return new StorageError("storage/network", message, {
      hint: "No host has that name: check the address, and the network's name server.",
      cause: error,
    });
  if (certificateErrors.test(errno))
    return new StorageError("storage/network", message, {
      hint: "The server's certificate is not trusted. Of an authority of your own: NODE_EXTRA_CA_CERTS=FILE.pem.",
      cause: error,
    });
  return new StorageError("storage/network", message, {
    hint: "Check the network, the address and its port, and the proxy (HTTPS_PROXY, NO_PROXY).",
    retryable: isPassing(error),
    cause: error,
  });
}

/** Of several addresses of one host each may have failed in its way; such an error has no words of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return [...new Set(error.errors.map(reasonOf))].join(", ");
  if (!(error instanceof Error)) return String(error);
  return error.message === "" ? (errnoOf(error) ?? error.name) : error.message;
}
