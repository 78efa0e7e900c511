export { PoolThread, type PoolThreadListener, type PoolThreadOptions } from "./pool-thread.ts";
