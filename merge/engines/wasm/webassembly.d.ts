/** What the engine uses of the WebAssembly API: TypeScript has its types only with those of the browser, @types/node not at all. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, Memory>>>>);
    readonly exports: unknown;
  }
  class Memory {
    constructor(limits: { readonly initial: number; readonly maximum?: number });
    readonly buffer: ArrayBuffer;
    /** By so many pages of 64 KiB. The old buffer is detached. @throws RangeError beyond the maximum */
    grow(pages: number): number;
  }
}
