export { ResultBuffers } from "./buffers.ts";
export { PoolThread, type PoolThreadListener, type PoolThreadOptions } from "./pool-thread.ts";
export { ThreadPool, type ThreadPoolListener, type ThreadPoolOptions, type UnitProgress } from "./thread-pool.ts";
