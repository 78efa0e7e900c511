import { homedir } from "node:os";
import { errnoOf, StorageError } from "../errors.ts";
import { join, maybePlaceOf, placeOf } from "../place.ts";
import type { Source } from "../port.ts";
import { readWhole } from "../whole.ts";
import { type IniFile, parseIniFile } from "./ini-file.ts";
import type { AwsCredentials } from "./sigv4.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What AWS's tools are told about S3, by the environment and the files of a profile. */
export interface AwsSettings {
  readonly profile: string;
  readonly region: string | undefined;
  /** Of a store that is not Amazon's. */
  readonly endpoint: URL | undefined;
  /** Whether the bucket is part of the host's name; undefined: as the endpoint has it. */
  readonly addressing: "path" | "virtual" | undefined;
  readonly requesterPays: boolean;
  /** How what is written is encrypted, where that is not as the bucket has it. */
  readonly encryption: S3Encryption | undefined;
  /** Keys that stand there; undefined: none do. */
  readonly keys: AwsCredentials | undefined;
  /** Of other ways to keys that are set up, which the SDK's chain of credentials goes. */
  readonly otherWay: string | undefined;
}

export interface S3Encryption {
  readonly algorithm: "AES256" | "aws:kms" | "aws:kms:dsse";
  /** Of KMS; absent: the one of the account. */
  readonly keyId?: string;
}

const FILE_MAX_BYTES = 2 ** 20;
const REGION_DEFAULT = "us-east-1";

export async function readAwsSettings(files: Source, environment: Environment): Promise<AwsSettings> {
  const set = (name: string) => (environment[name] === "" ? undefined : environment[name]);
  const home = join(placeOf(set("HOME") ?? homedir()), ".aws");
  const profile = set("AWS_PROFILE") ?? set("AWS_DEFAULT_PROFILE") ?? "default";
  const [credentials, config] = await Promise.all([
    maybeIni(files, set("AWS_SHARED_CREDENTIALS_FILE") ?? join(home, "credentials")),
    maybeIni(files, set("AWS_CONFIG_FILE") ?? join(home, "config")),
  ]);
  const told = new Map([
    ...(config.get(profile === "default" ? "default" : `profile ${profile}`) ?? []),
    ...(config.get(`profile ${profile}`) ?? []),
    ...(credentials.get(profile) ?? []),
  ]);
  const isNamed = set("AWS_PROFILE") !== undefined || set("AWS_DEFAULT_PROFILE") !== undefined;
  if (isNamed && told.size === 0) {
    throw new StorageError("storage/denied", `there is no profile ${profile} in the files of AWS`, {
      hint: "Check AWS_PROFILE, and ~/.aws/credentials and ~/.aws/config.",
    });
  }
  const services = config.get(`services ${told.get("services") ?? ""}`);
  const endpoint =
    set("AWS_ENDPOINT_URL_S3") ??
    set("AWS_ENDPOINT_URL") ??
    services?.get("s3.endpoint_url") ??
    told.get("s3.endpoint_url") ??
    told.get("endpoint_url");
  const addressing = told.get("s3.addressing_style");
  return {
    profile,
    region: set("AWS_REGION") ?? set("AWS_DEFAULT_REGION") ?? told.get("region"),
    endpoint: endpoint === undefined ? undefined : endpointOf(endpoint),
    addressing: addressing === "path" || addressing === "virtual" ? addressing : undefined,
    requesterPays: set("DELTAWORKS_S3_REQUEST_PAYER") === "requester",
    encryption: encryptionOf(set("DELTAWORKS_S3_SSE"), set("DELTAWORKS_S3_SSE_KMS_KEY_ID")),
    keys: keysIn(environment) ?? keysOf(told),
    otherWay: otherWayIn(told, environment),
  };
}

export function regionOf({ region }: Pick<AwsSettings, "region">): string {
  return region ?? REGION_DEFAULT;
}

function keysIn(environment: Environment): AwsCredentials | undefined {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = environment;
  return keysFrom(id, secret, token);
}

function keysOf(told: ReadonlyMap<string, string>): AwsCredentials | undefined {
  const [id, secret] = [told.get("aws_access_key_id"), told.get("aws_secret_access_key")];
  return keysFrom(id, secret, told.get("aws_session_token"));
}

function keysFrom(id: string | undefined, secret: string | undefined, token: string | undefined) {
  if (id === undefined || id === "" || secret === undefined || secret === "") return undefined;
  return {
    accessKeyId: id,
    secretAccessKey: secret,
    ...(token === undefined || token === "" ? {} : { sessionToken: token }),
  };
}

function encryptionOf(algorithm: string | undefined, keyId: string | undefined): S3Encryption | undefined {
  if (algorithm === undefined && keyId === undefined) return undefined;
  const chosen = algorithm ?? "aws:kms";
  const isKms = chosen === "aws:kms" || chosen === "aws:kms:dsse";
  if ((isKms || chosen === "AES256") && (isKms || keyId === undefined))
    return { algorithm: chosen, ...(keyId === undefined ? {} : { keyId }) };
  const what = isKms || chosen === "AES256" ? "has no key of KMS" : "is no way to encrypt";
  throw new StorageError("storage/denied", `DELTAWORKS_S3_SSE=${chosen} ${what}`, {
    hint: "Set it to AES256, aws:kms or aws:kms:dsse; DELTAWORKS_S3_SSE_KMS_KEY_ID is for the latter two.",
  });
}

function otherWayIn(told: ReadonlyMap<string, string>, environment: Environment): string | undefined {
  const settings = [
    "role_arn",
    "sso_session",
    "sso_start_url",
    "credential_process",
    "web_identity_token_file",
    "login_session",
  ];
  const variables = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  ];
  const isSet = (value: string | undefined) => value !== undefined && value !== "";
  return settings.find((name) => isSet(told.get(name))) ?? variables.find((name) => isSet(environment[name]));
}

/** An endpoint may hold a path, and no secrets. */
function endpointOf(text: string): URL {
  const shown = text.replace(/\/\/[^/]*@/, "//…@");
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw notAnEndpoint(shown);
  }
  if (!/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "" || url.username !== "")
    throw notAnEndpoint(shown);
  return url;
}

function notAnEndpoint(text: string): StorageError {
  return new StorageError("storage/network", `${text} is no endpoint of S3`, {
    hint: "Write AWS_ENDPOINT_URL_S3=https://host:port.",
  });
}

async function maybeIni(files: Source, path: string): Promise<IniFile> {
  const place = maybePlaceOf(path.replace(/^~(?=\/)/, homedir()));
  if (place === undefined) return new Map();
  try {
    return parseIniFile(Buffer.from(await readWhole(files, place, FILE_MAX_BYTES)).toString("utf8"));
  } catch (error) {
    if (errnoOf(error) === "storage/not-found" || errnoOf(error) === "storage/not-a-directory") return new Map();
    throw error;
  }
}
