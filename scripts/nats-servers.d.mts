export const natsVersions: readonly string[];
export function natsServerPath(version: string): string;
export function makeNatsServers(): void;
