import { hostOf } from "./reachable.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy by which an address is reached; undefined: directly. HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in small letters first. */
export function maybeProxyFor(url: URL, environment: Environment): string | undefined {
  const proxy = namedIn(environment, url.protocol === "https:" ? "https_proxy" : "http_proxy");
  if (proxy === undefined || isExcepted(url, namedIn(environment, "no_proxy") ?? "")) return undefined;
  return /^[a-z]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

/** `host`, `.host` and `*.host` mean the host and what is below it, `host:port` one port of it, `*` everything. */
function isExcepted(url: URL, noProxy: string): boolean {
  const host = hostOf(url).toLowerCase();
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true;
      const [, name = "", only] =
        /^(.*?)(?::(\d+))?$/.exec(entry.includes("]") || !/:.*:/.test(entry) ? entry : `[${entry}]`) ?? [];
      const bare = name
        .replace(/^\[(.*)\]$/, "$1")
        .replace(/^\*?\./, "")
        .toLowerCase();
      return (host === bare || host.endsWith(`.${bare}`)) && (only === undefined || only === port);
    });
}

function namedIn(environment: Environment, name: string): string | undefined {
  const value = environment[name] ?? environment[name.toUpperCase()];
  return value === "" ? undefined : value;
}
