import { type Failure, FailuresError } from "../merge/work/index.ts";
import { bytesText, formatDuration } from "../options/index.ts";
import { parseAddress } from "../trust/index.ts";
import { heartbeatFor, ioTimeoutMax, leaseMin } from "../wire/index.ts";
import { leastMemoryFor, threadsDefault } from "./resources.ts";
import type { CoordinatorSettings, WorkerSettings } from "./settings.ts";

/** Settings that exclude each other: what is wrong, with the values, and others that would do. */
interface SettingFault {
  readonly code: "service/option" | "worker/option" | "trust/option" | "nats/option";
  readonly message: string;
  readonly hint: string;
}

/** One rule: undefined where the settings keep it. */
type Rule<Settings> = (settings: Settings) => SettingFault | undefined;

const SECOND_MS = 1000;
/** Workers look at their leases ten times a second, and a question takes its time. */
const LEASE_MIN_MS = SECOND_MS;
const IO_TIMEOUT_MIN_MS = 100;
/** A century. */
const KEEP_ENDED_MAX_MS = 36_500 * 24 * 3600 * SECOND_MS;
const PLANNING_MEMORY_MIN = 64 * 2 ** 20;
/** Timers of Node go to 24 days; beyond that they fire at once. */
const TIME_MAX_MS = 7 * 24 * 3600 * SECOND_MS;
const PORT_MAX = 65_535;
/** A certificate is exchanged after two thirds of its time, and what fails is tried again. A century is what certificates can say. */
const CERTIFICATE_TTL_MIN_MS = 10 * SECOND_MS;
const CERTIFICATE_TTL_MAX_MS = 36_500 * 24 * 3600 * SECOND_MS;

export const coordinatorRules: readonly Rule<CoordinatorSettings>[] = [
  ({ lease }) => within("--lease", lease, LEASE_MIN_MS, TIME_MAX_MS, "service/option"),
  ({ ioTimeout }) => within("--io-timeout", ioTimeout, IO_TIMEOUT_MIN_MS, TIME_MAX_MS, "service/option"),
  ({ grace }) => within("--grace", grace, 0, TIME_MAX_MS, "service/option"),
  ({ keepEnded }) => within("--keep-ended", keepEnded, 60 * SECOND_MS, KEEP_ENDED_MAX_MS, "service/option"),
  ({ planningTime }) => within("--planning-time", planningTime, SECOND_MS, TIME_MAX_MS, "service/option"),
  ({ planningMemory }) =>
    planningMemory >= PLANNING_MEMORY_MIN
      ? undefined
      : {
          code: "service/option",
          message: `--planning-memory ${bytesText(planningMemory)} is less than ${bytesText(PLANNING_MEMORY_MIN)}, which every recipe takes`,
          hint: `Give --planning-memory ${bytesText(PLANNING_MEMORY_MIN)} or more.`,
        },
  ({ lease, ioTimeout }) => {
    const most = ioTimeoutMax({ leaseMs: lease, heartbeatMs: heartbeatFor(lease) });
    if (lease < LEASE_MIN_MS || ioTimeout <= most) return undefined;
    return {
      code: "service/option",
      message:
        `--io-timeout ${formatDuration(ioTimeout)} does not fit --lease ${formatDuration(lease)}: a worker begins no call that could end ` +
        "after its lease, so that it would never write; an I/O timeout is at most two thirds of a lease",
      hint: `Give --io-timeout ${formatDuration(most)} or less, or --lease ${formatDuration(leaseMin(ioTimeout))} or more.`,
    };
  },
  ({ caKey, cert, key, ca }) =>
    caKey === undefined || [cert, key, ca].some((file) => file !== undefined)
      ? undefined
      : {
          code: "trust/option",
          message:
            "--ca-key needs --cert, --key and --ca: without them nothing is spoken by TLS, and there is nothing to join",
          hint: "Give the coordinator's own certificate, its key and the authority; `deltaworks certs` makes them.",
        },
  ({ caKey, certificateTtl }) =>
    caKey === undefined
      ? certificateTtl === undefined
        ? undefined
        : {
            code: "trust/option",
            message: "--certificate-ttl needs --ca-key: without it no certificates are given out",
            hint: "Give the ca-key.pem that `deltaworks certs init` made, or leave the time away.",
          }
      : certificateTtl === undefined
        ? undefined
        : within("--certificate-ttl", certificateTtl, CERTIFICATE_TTL_MIN_MS, CERTIFICATE_TTL_MAX_MS, "trust/option"),
  ({ caKey, joinListen }) =>
    joinListen === undefined || caKey !== undefined
      ? undefined
      : {
          code: "trust/option",
          message: "--join-listen needs --ca-key: without it there is nothing to join with",
          hint: "Give the ca-key.pem that `deltaworks certs init` made.",
        },
  ({ caKey, joinListen, listen }) => {
    if (caKey === undefined) return undefined;
    const { host, port } = parseAddress(listen);
    if (joinListen === undefined) {
      if (port < PORT_MAX) return undefined;
      return {
        code: "trust/option",
        message: `--listen ${listen} has the last port: there is none after it for machines to join at`,
        hint: "Say where they join with --join-listen HOST:PORT.",
      };
    }
    const joining = parseAddress(joinListen);
    if (port === 0 || joining.port !== port || joining.host !== host) return undefined;
    return {
      code: "trust/option",
      message: `--join-listen ${joinListen} is where the coordinator listens itself`,
      hint: "Joining has a port of its own: leave the option away, and it is the next one.",
    };
  },
  (options) => {
    const given = Object.entries({
      "--nats-creds": options.natsCreds,
      "--nats-nkey": options.natsNkey,
      "--nats-user-file": options.natsUserFile,
      "--nats-ca": options.natsCa,
      "--nats-cert": options.natsCert,
      "--nats-key": options.natsKey,
    }).filter(([, file]) => file !== undefined);
    if (given.length === 0 || (options.nats ?? "") !== "") return undefined;
    return {
      code: "nats/option",
      message: `${given.map(([name]) => name).join(" and ")} without --nats: no server is named, and jobs would be kept in --state`,
      hint: "Give --nats nats://host:4222, or take the others away (they may come from DELTAWORKS_NATS_…).",
    };
  },
];

export const workerRules: readonly Rule<WorkerSettings>[] = [
  ({ grace }) => within("--grace", grace, 0, TIME_MAX_MS, "worker/option"),
  ({ memoryBytes: memory, threads: given }) => {
    if (memory === undefined) return undefined;
    const threads = given ?? threadsDefault();
    const least = leastMemoryFor(threads);
    if (memory >= least) return undefined;
    const mib = (bytes: number) => `${Math.floor(bytes / 2 ** 20)}MiB`;
    return {
      code: "worker/option",
      message: `--memory ${mib(memory)} does not fit --threads ${threads}${given === undefined ? " (the default here)" : ""}, which take ${mib(least)} before they compute anything`,
      hint: `Give --memory ${mib(least)} or more${threads === 1 ? "." : ", or fewer threads."}`,
    };
  },
  ({ join, caSha256, identityDir, cert, key, ca }) => {
    const joining = Object.entries({ "--join": join, "--ca-sha256": caSha256, "--identity-dir": identityDir })
      .filter(([, value]) => value !== undefined)
      .map(([name]) => name);
    const given = Object.entries({ "--cert": cert, "--key": key, "--ca": ca }).filter(([, file]) => file !== undefined);
    if (joining.length === 0 || given.length === 0) return undefined;
    return {
      code: "trust/option",
      message: `${joining.join(" and ")} with ${given.map(([name]) => name).join(" and ")}: one certificate comes by joining, the other from files, and a worker has one`,
      hint: "Give either the files or the token (--join, --ca-sha256), not both; some may come from DELTAWORKS_….",
    };
  },
  ({ join, identityDir, joinAddress, caSha256 }) =>
    joinAddress === undefined || [join, identityDir, caSha256].some((given) => given !== undefined)
      ? undefined
      : {
          code: "trust/option",
          message: `--join-address ${joinAddress} without --join: there is nothing to join with`,
          hint: "Give the token of `deltaworks token create` with --join, or leave the address away.",
        },
  ({ listen, coordinator }) =>
    listen === undefined || listen !== coordinator
      ? undefined
      : {
          code: "worker/option",
          message: `--listen ${listen} is where the coordinator listens`,
          hint: "Give a port of this machine that is free.",
        },
];

/** Before anything is begun. @throws FailuresError with all rules that the settings break, in the order of the rules */
export function checkRules<Settings>(rules: readonly Rule<Settings>[], settings: Settings): void {
  const broken = rules.flatMap((rule): Failure[] => {
    const fault = rule(settings);
    return fault === undefined ? [] : [{ ...fault, retryable: false }];
  });
  const [first, ...others] = broken;
  if (first !== undefined) throw new FailuresError([first, ...others]);
}

function within(
  name: string,
  valueMs: number,
  leastMs: number,
  mostMs: number,
  code: SettingFault["code"],
): SettingFault | undefined {
  if (valueMs >= leastMs && valueMs <= mostMs) return undefined;
  const [least, most] = [formatDuration(leastMs), formatDuration(mostMs)];
  const message = `${name} ${formatDuration(valueMs)} is ${valueMs < leastMs ? `shorter than ${least}` : `longer than ${most}`}`;
  return { code, message, hint: `Give ${name} from ${least} to ${most}.` };
}
