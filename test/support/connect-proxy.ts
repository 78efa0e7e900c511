import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A proxy as HTTP_PROXY names one: counts what passes it, both ways together. It ends with the test. */
export class ConnectProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  passedBytes = 0;

  private constructor() {
    this.#server = createServer((_, response) => response.writeHead(405).end());
    this.#server.on("connect", (request, near: Socket, first: Buffer) => {
      const { hostname, port } = new URL(`http://${request.url}`);
      const far = connect(Number(port), hostname, () => {
        near.write("HTTP/1.1 200 Connection established\r\n\r\n");
        far.write(first);
        near.pipe(far).pipe(near);
      });
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("data", (bytes: Buffer) => {
          this.passedBytes += bytes.length;
        });
        socket.on("error", () => other.destroy());
        socket.on("close", () => this.#sockets.delete(socket));
      }
    });
  }

  static async start(): Promise<ConnectProxy> {
    const proxy = new ConnectProxy();
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    onTestFinished(() => {
      proxy.#server.close();
      for (const socket of proxy.#sockets) socket.destroy();
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
}
