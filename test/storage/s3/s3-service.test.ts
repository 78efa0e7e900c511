import { S3Service } from "../../support/s3-service.ts";
import { s3ServiceContract } from "./s3-service.contract.ts";

s3ServiceContract("the simulated S3", async () => {
  const service = new S3Service();
  return async ({ method, path, headers = {}, body = new Uint8Array() }) => {
    const answer = service.answer({ method, path: `/bucket${path}`, headers, body });
    return { ...answer, headers: new Map(Object.entries(answer.headers)) };
  };
});
