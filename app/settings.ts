/** What a process that speaks to others is started with, as people give it: texts of places and addresses are parsed where they are used. */

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

export const CERTIFICATE_TTL_MS = 86_400_000;

/** Of a coordinator that gives out certificates. */
export interface EnrollingSettings {
  /** Key of the authority, PEM file. */
  readonly caKey?: string | undefined;
  readonly joinListen?: string | undefined;
  /** Milliseconds; 24 hours where nothing is said. */
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
