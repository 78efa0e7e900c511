import type { ServerResponse } from "node:http";
import { type Asked, type RangeServer, rangeServer } from "./range-server.ts";
import { refusal, type S3Answer, type S3Dialect, S3Service } from "./s3-service.ts";

/** `S3Service` behind HTTP, whose objects are the server's files. Faults that are put before it are asked first. */
export async function s3Imitation(pageMax = 1000, dialect: Partial<S3Dialect> = {}): Promise<RangeServer> {
  const server = await rangeServer();
  const service = new S3Service({ ...dialect, pageMax, objects: server.files });
  server.faults.push((asked, response) => answerWith(response, service.answer(asked)));
  return server;
}

export const isList = ({ path }: Asked) => path.includes("list-type=2");

export function refuseWith(response: ServerResponse, status: number, code: string): true {
  return answerWith(response, refusal(status, code));
}

function answerWith(response: ServerResponse, { status, headers, body }: S3Answer): true {
  response.writeHead(status, headers).end(body);
  return true;
}
