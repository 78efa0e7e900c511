/** What a process that speaks to others is started with, as people give it: texts of places and addresses are parsed where they are used. */

import type { OptionValues } from "../options/index.ts";

/** Of whoever speaks to another machine. Certificate, key and authorities go together, or none is given. */
export interface TrustSettings {
  /** Own certificate, PEM file. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Certificates of the authorities that peers may come from, PEM file. */
  readonly ca?: string | undefined;
  /** Speaks without TLS also to other machines. */
  readonly insecure: boolean;
}

/** Of a worker that has no certificate yet, or one that it got by joining. */
export interface JoiningSettings {
  readonly join?: string | undefined;
  readonly caSha256?: string | undefined;
  readonly joinAddress?: string | undefined;
  readonly identityDir?: string | undefined;
}

/** Of a coordinator that gives out certificates. */
export interface EnrollingSettings {
  /** Key of the authority, PEM file. */
  readonly caKey?: string | undefined;
  readonly joinListen?: string | undefined;
  /** Milliseconds. */
  readonly certificateTtl?: number | undefined;
}

/** Of whoever speaks to NATS. */
export interface NatsSettings {
  /** Addresses, with commas between them. */
  readonly nats?: string | undefined;
  readonly natsPrefix: string;
  readonly natsCreds?: string | undefined;
  readonly natsNkey?: string | undefined;
  readonly natsUserFile?: string | undefined;
  readonly natsCa?: string | undefined;
  readonly natsCert?: string | undefined;
  readonly natsKey?: string | undefined;
}

/** Of the options of a merge, the share of slices that are computed twice is that of jobs which do not say. */
export interface CoordinatorSettings
  extends OptionValues<"coordinator">,
    TrustSettings,
    EnrollingSettings,
    NatsSettings {
  /** HOST:PORT; port 0 takes one that is free. */
  readonly listen: string;
  /** Folder of what must be kept from one run to the next; locked while one runs. */
  readonly state: string;
  /** NAME=FOLDER each: what jobs may read from and write to. */
  readonly root: readonly string[];
  /** NAME=s3://bucket/prefix or NAME=s3://bucket/prefix:ro each: the same of buckets. */
  readonly place: readonly string[];
  /** Milliseconds. */
  readonly lease: number;
  readonly ioTimeout: number;
  /** Milliseconds that slices in flight have when it stops. */
  readonly grace: number;
  /** Most jobs at once. */
  readonly jobs: number;
  /** Milliseconds for which a job that has ended is kept, with all that is known of it. */
  readonly keepEnded: number;
  /** Milliseconds in which a recipe must be planned. */
  readonly planningTime: number;
  /** Bytes that planning a recipe may take. */
  readonly planningMemory: number;
  /** Whether the services describe themselves. */
  readonly reflection: boolean;
}

export interface WorkerSettings extends OptionValues<"worker">, TrustSettings, JoiningSettings {
  /** HOST:PORT of the coordinator. */
  readonly coordinator: string;
  /** With TLS the certificate says who it is; else this, or the host's name. */
  readonly name?: string | undefined;
  /** NAME=FOLDER or NAME=FOLDER:ro each: what the coordinator may name. */
  readonly root: readonly string[];
  /** NAME=s3://bucket/prefix or NAME=s3://bucket/prefix:ro each: buckets that the worker reaches with keys of its own. */
  readonly place: readonly string[];
  /** What lies in buckets is read and written through the coordinator, but for the places that it has keys for. */
  readonly throughCoordinator: boolean;
  /** Milliseconds that it has to finish what has begun, once it is told to end. */
  readonly grace: number;
  /** HOST:PORT where the coordinator fetches results. */
  readonly listen?: string | undefined;
}
