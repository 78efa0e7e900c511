import type { ServerResponse } from "node:http";
import { type Asked, type RangeServer, rangeServer } from "./range-server.ts";
import { answerXml, escaped, ImitatedUploads, refuseWith } from "./s3-uploads-imitation.ts";

/**
 * Buckets behind HTTP as S3 has them, by path: `/bucket/key`. It verifies no signature; a page holds as many names as are asked for. Of
 * what is put conditions and SHA-256 are looked at.
 */
export async function s3Imitation(pageMax = 1000): Promise<RangeServer> {
  const server = await rangeServer();
  const uploads = new ImitatedUploads(server);
  server.faults.push((asked, response) => {
    const { pathname, searchParams } = new URL(asked.path, "http://s3");
    const [, bucket = "", key = ""] = /^\/([^/]+)\/?(.*)$/.exec(pathname) ?? [];
    if (searchParams.get("list-type") === "2" && key === "")
      return list(server, bucket, searchParams, response, pageMax);
    if (asked.method !== "GET" && asked.method !== "HEAD") return uploads.write(asked, response);
    if (searchParams.has("uploads")) return uploads.list(asked, response);
    if (searchParams.has("uploadId")) return uploads.listParts(asked, response, pageMax);
    if (server.files.has(pathname)) return false;
    return refuseWith(response, 404, "NoSuchKey");
  });
  return server;
}

export const isList = ({ path }: Asked) => path.includes("list-type=2");

function list(
  server: RangeServer,
  bucket: string,
  query: URLSearchParams,
  response: ServerResponse,
  pageMax: number,
): true {
  const prefix = query.get("prefix") ?? "";
  const keys = [...server.files.keys()]
    .filter((path) => path.startsWith(`/${bucket}/`))
    .map((path) =>
      path
        .slice(bucket.length + 2)
        .split("/")
        .map(decodeURIComponent)
        .join("/"),
    )
    .filter((key) => key.startsWith(prefix));
  const names = keys.map((key) => {
    const below = key.slice(prefix.length).indexOf("/");
    return below < 0 ? key : key.slice(0, prefix.length + below + 1);
  });
  const all = [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const from = Number(query.get("continuation-token") ?? "0");
  const page = all.slice(from, from + Math.min(pageMax, Number(query.get("max-keys") ?? "1000")));
  const isCut = from + page.length < all.length;
  const body = [
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
    `<Name>${bucket}</Name><Prefix>${escaped(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><IsTruncated>${isCut}</IsTruncated>`,
    isCut ? `<NextContinuationToken>${from + page.length}</NextContinuationToken>` : "",
    ...page.map((name) =>
      name.endsWith("/") && name !== prefix
        ? `<CommonPrefixes><Prefix>${escaped(name)}</Prefix></CommonPrefixes>`
        : `<Contents><Key>${escaped(name)}</Key><Size>1</Size></Contents>`,
    ),
    "</ListBucketResult>\n",
  ].join("");
  return answerXml(response, 200, body);
}
