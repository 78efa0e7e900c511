import type { Client, MethodDefinition } from "@grpc/grpc-js";

/** One question, one answer. @throws ServiceError */
export function unary<Request, Response>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
  request: Request,
  deadlineMs: number,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, (error, response) => {
      if (error) reject(error);
      else if (response === undefined) reject(new Error(`${path} was answered with nothing`));
      else resolve(response);
    });
  });
}
